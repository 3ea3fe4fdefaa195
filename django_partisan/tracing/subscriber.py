"""The subscriber that creates spans, using only OpenTelemetry's API."""

import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from opentelemetry.trace import Link, Tracer, TracerProvider

from django_partisan.config import observability
from django_partisan.config.queues import DEFAULT_QUEUE
from django_partisan.telemetry import bus
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.queues import OutcomesSettled, TasksClaimed
from django_partisan.telemetry.events.scopes import Enqueueing, Running, Scope, Ticking
from django_partisan.telemetry.events.tasks import TaskRescued
from django_partisan.telemetry.events.values import TaskRef
from django_partisan.telemetry.events.workers import WorkerExited
from django_partisan.tracing import dropped_spans, spans
from django_partisan.tracing.attributes import SpanDescriptions, of_run
from django_partisan.tracing.context import ROOT, injected, suppressed
from django_partisan.tracing.exporters import import_exporter
from django_partisan.tracing.links import RunsToSettle, links_to_enqueueings, relation_of_run
from django_partisan.tracing.manager_runs import Ended, add_run
from django_partisan.tracing.sdk import configured_tracer, flush
from django_partisan.tracing.span_scopes import (
    NANOSECONDS,
    OUTCOMES,
    BatchScope,
    RunScope,
    SendScope,
    SpanScope,
    TickScope,
    current,
)

_NO_SPAN: Final = nullcontext()
_OF_MANAGER: Final = (TaskRescued, WorkerExited)
_SETTINGS: Final[Mapping[type, str]] = {TasksClaimed: "TRACE_CLAIMS", OutcomesSettled: "TRACE_SETTLES"}


class TracingSubscriber(Subscriber):
    """Creates the spans declared in ``tracing.spans``.

    A worker passes its manager's pid and its slot, a manager its own pid and the queue. As long as no SDK is
    configured, nothing is recorded.
    """

    name = spans.SUBSCRIBER

    def __init__(
        self,
        manager_pid: int | None = None,
        slot: int | None = None,
        queue: str = DEFAULT_QUEUE,
        tracer_provider: TracerProvider | None = None,
    ) -> None:
        self._slot = slot
        self._provider = tracer_provider
        self._tracer: Tracer | None = None
        self._descriptions = SpanDescriptions(manager_pid, slot)
        self._dropped = dropped_spans.DroppedSpans(queue)
        self._runs = RunsToSettle()
        self._waiting = 0
        """How many spans of this worker were waiting for a collector at the last report."""
        self._is_closed = False
        self.is_stuck = False

    def wants(self, kind: type[Event]) -> bool:
        setting = _SETTINGS.get(kind)
        if kind not in OUTCOMES and kind not in _OF_MANAGER and setting is None:
            return False
        return self._recording() is not None and (setting is None or bool(observability.value(setting)))

    def handle(self, event: Any) -> None:
        if type(event) in OUTCOMES:
            self._end_run(event)
        elif isinstance(event, TasksClaimed):
            if event.number:
                self._add_ended(spans.CLAIM, event, links_to_enqueueings(event.contexts))
            self._dropped.add(dropped_spans.taken())
        elif isinstance(event, OutcomesSettled):
            links = self._runs.links(event.task_ids) or links_to_enqueueings(event.contexts)
            self._add_ended(spans.SETTLE, event, links)
        elif isinstance(event, TaskRescued):
            if event.lost is not None:
                self._add_run(event)
        else:  # a worker exited
            self._dropped.worker_exited(event.pid)

    def around(self, scope: Scope) -> AbstractContextManager[None]:
        tracer = self._recording()
        if tracer is None:
            return _NO_SPAN
        if isinstance(scope, Running):
            return self._around_run(tracer, scope)
        if isinstance(scope, Ticking):
            return self._around_ticks(tracer, scope)
        return self._around_enqueueing(tracer, scope)

    def headers(self) -> dict[str, str]:
        """Return the context for a task's row.

        During a run, but not while it enqueues a task, these are the headers that are added to the run's own
        row if the task runs again.
        """
        scope = current.get()
        # If nothing records spans, a context that came from elsewhere is still passed on.
        return injected() if scope is None else scope.headers()

    def quiet(self) -> AbstractContextManager[None]:
        """Return a context manager in which this thread's queries and requests are not traced."""
        return suppressed()

    def preload(self) -> None:
        import_exporter()

    def take(self) -> Any:
        dropped, ended = dropped_spans.taken(), self._runs.taken()
        waiting = 0 if self._is_closed else dropped_spans.waiting()
        if not dropped and not ended and waiting == self._waiting:
            return None
        self._waiting = waiting
        return dropped, ended, os.getpid(), waiting

    def absorb(self, slot: int, value: Any) -> None:
        dropped, ended, pid, waiting = value
        self._runs.absorb(ended)
        self._dropped.add(dropped)
        self._dropped.note_waiting(pid, waiting)

    def close(self, timeout: float) -> None:
        self.is_stuck = not flush(timeout, self._provider)
        if self.is_stuck:
            dropped_spans.count_unexported()
        self._is_closed = True
        if self._slot is None:  # a worker sends its counts with its last message
            self._dropped.add(dropped_spans.taken(), at_once=True)

    def _recording(self) -> Tracer | None:
        """Return the tracer, or ``None`` as long as no SDK is configured."""
        if self._tracer is None:
            self._tracer = configured_tracer(self._provider)
            if self._tracer is not None:
                bus.refresh()  # events that were not wanted before are wanted now
        return self._tracer

    def _around_enqueueing(self, tracer: Tracer, scope: Enqueueing) -> SpanScope:
        if scope.count == 1:
            name, attributes = self._descriptions.of(spans.SEND, scope.queue, scope.processor)
            kind = spans.SPANS[spans.SEND].kind
            return SendScope(tracer.start_span(name, kind=kind, attributes=attributes), scope)
        name, common = self._descriptions.of(spans.BATCH_SEND, scope.queue, scope.processor)
        attributes = {**common, spans.MESSAGE_COUNT: scope.count}
        span = tracer.start_span(name, kind=spans.SPANS[spans.BATCH_SEND].kind, attributes=attributes)
        return BatchScope(span, scope, tracer, self._descriptions)

    def _around_ticks(self, tracer: Tracer, scope: Ticking) -> SpanScope:
        name, attributes = self._descriptions.of(spans.SCHEDULE, scope.queue)
        kind = spans.SPANS[spans.SCHEDULE].kind
        return TickScope(tracer.start_span(name, ROOT, kind, attributes), scope)

    def _around_run(self, tracer: Tracer, scope: Running) -> SpanScope:
        run = scope.run
        parent, carried, links = relation_of_run(run, scope.propagation)
        name, common = self._descriptions.of(spans.PROCESS, run.queue, run.processor, run.slot)
        kind = spans.SPANS[spans.PROCESS].kind
        span = tracer.start_span(name, parent, kind, of_run(common, run), links)
        return RunScope(span, carried, run)

    def _end_run(self, event: Any) -> None:
        if isinstance(event.run, TaskRef):  # the manager ends the run
            self._add_run(event)
            return
        scope = current.get()
        # A run has no scope if there was no SDK when it started.
        if isinstance(scope, RunScope) and scope.run.id == event.run.id:
            scope.add_outcome(event)
            if self._slot is not None and observability.value("TRACE_SETTLES"):
                self._runs.add(event.run.id, scope.span)

    def _add_run(self, event: Ended) -> None:
        """Add the span of a run that the manager ends."""
        tracer = self._recording()
        if tracer is not None:
            add_run(tracer, self._descriptions, event)

    def _add_ended(self, span: str, event: TasksClaimed | OutcomesSettled, links: list[Link]) -> None:
        """Add the span of an operation that has just ended."""
        tracer = self._recording()
        if tracer is None:
            return
        ended = time.time_ns()
        started = ended - int(event.seconds * NANOSECONDS)
        name, common = self._descriptions.of(span, event.queue)
        attributes = {**common, spans.MESSAGE_COUNT: event.number}
        tracer.start_span(name, ROOT, spans.SPANS[span].kind, attributes, links, started).end(ended)
