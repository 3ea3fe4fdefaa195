"""The subscriber that creates spans, using only OpenTelemetry's API."""

import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final

from opentelemetry.trace import Link, TracerProvider

from django_partisan.config import observability
from django_partisan.config.queues import DEFAULT_QUEUE
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.queues import OutcomesSettled, TasksClaimed
from django_partisan.telemetry.events.scopes import Running, Scope, Ticking
from django_partisan.telemetry.events.tasks import TaskRescued
from django_partisan.telemetry.events.values import Run
from django_partisan.telemetry.events.workers import WorkerExited
from django_partisan.tracing import dropped_spans, spans
from django_partisan.tracing.attributes import SpanStarter
from django_partisan.tracing.context import ROOT, injected, suppressed
from django_partisan.tracing.exporters import import_exporter
from django_partisan.tracing.links import RunsToSettle, links_to_enqueueings
from django_partisan.tracing.runs import NANOSECONDS, OUTCOMES, add_run, start_run
from django_partisan.tracing.sdk import configured_tracer, flush
from django_partisan.tracing.span_scopes import (
    BatchScope,
    RunScope,
    SendScope,
    TickScope,
    current,
)

_NO_SPAN: Final = nullcontext()
_WANTED: Final[Mapping[type, str | None]] = {
    **dict.fromkeys(OUTCOMES),
    WorkerExited: None,
    TasksClaimed: "TRACE_CLAIMS",
    OutcomesSettled: "TRACE_SETTLES",
}
"""The kinds of events that are handled, with the settings that switch some of them off."""


class TracingSubscriber(bus.Subscriber):
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
        self._manager_pid = manager_pid
        self._slot = slot
        self._provider = tracer_provider
        self._starter: SpanStarter | None = None
        self._dropped = dropped_spans.DroppedSpans(queue)
        self._runs = RunsToSettle()
        self._waiting = 0
        """How many spans of this worker were waiting for a collector at the last report."""
        self._is_closed = False
        self.is_stuck = False

    def wants(self, kind: type[Event]) -> bool:
        if kind not in _WANTED or self._recording() is None:
            return False
        setting = _WANTED[kind]
        return setting is None or bool(observability.value(setting))

    def handle(self, event: Any) -> None:
        starter = self._recording()
        if starter is None:
            return
        match event:
            case _ if isinstance(getattr(event, "run", None), Run):
                self._end_run(event)
            case TasksClaimed():
                if event.number:
                    _add_ended(starter, spans.CLAIM, event, links_to_enqueueings(event.contexts))
                self._dropped.add(dropped_spans.taken())
            case OutcomesSettled():
                links = self._runs.links(event.task_ids) or links_to_enqueueings(event.contexts)
                _add_ended(starter, spans.SETTLE, event, links)
            case WorkerExited():
                self._dropped.worker_exited(event.pid)
            case TaskRescued(lost=None):
                pass  # it had not begun
            case _:  # the manager ends the run
                add_run(starter, event)

    def around(self, scope: Scope) -> AbstractContextManager[None]:
        starter = self._recording()
        if starter is None:
            return _NO_SPAN
        if isinstance(scope, Running):
            run = scope.run
            span, carried = start_run(starter, run, scope.propagation, run.slot, run.wait_seconds)
            return RunScope(span, scope, carried)
        if isinstance(scope, Ticking):
            return TickScope(starter.start(spans.SCHEDULE, scope.queue, context=ROOT), scope, ROOT)
        if scope.count == 1:
            return SendScope(starter.start(spans.SEND, scope.queue, scope.processor), scope)
        span = starter.start(
            spans.BATCH_SEND, scope.queue, scope.processor, more={spans.MESSAGE_COUNT: scope.count}
        )
        return BatchScope(span, scope, partial(starter.start, spans.CREATE))

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
        self._dropped.waiting[pid] = waiting

    def close(self, timeout: float) -> None:
        self.is_stuck = not flush(timeout, self._provider)
        if self.is_stuck:
            dropped_spans.count(dropped_spans.NOT_FLUSHED, dropped_spans.waiting())
        self._is_closed = True  # what waited is exported or counted
        if self._slot is None:  # a worker sends its counts with its last message
            self._dropped.add(dropped_spans.taken(), at_once=True)

    def _recording(self) -> SpanStarter | None:
        """Return what starts spans, or ``None`` as long as no SDK is configured."""
        if self._starter is None:
            tracer = configured_tracer(self._provider)
            if tracer is not None:
                self._starter = SpanStarter(tracer, self._manager_pid, self._slot)
                bus.refresh()  # events that were not wanted before are wanted now
        return self._starter

    def _end_run(self, event: Any) -> None:
        innermost = current.get()
        # A run has no scope if there was no SDK when it started.
        if isinstance(innermost, RunScope) and innermost.scope.run.id == event.run.id:
            innermost.add_outcome(event)
            if self._slot is not None and observability.value("TRACE_SETTLES"):
                self._runs.add(event.run.id, innermost.span)


def _add_ended(
    starter: SpanStarter, span: str, event: TasksClaimed | OutcomesSettled, links: list[Link]
) -> None:
    """Add the span of an operation that has just ended."""
    ended = time.time_ns()
    starter.start(
        span,
        event.queue,
        context=ROOT,
        more={spans.MESSAGE_COUNT: event.number},
        links=links,
        started=ended - int(event.seconds * NANOSECONDS),
    ).end(ended)
