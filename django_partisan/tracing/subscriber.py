"""The subscriber that makes spans, through OpenTelemetry's API alone."""

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.trace import Link, Tracer, TracerProvider

from django_partisan.config import observability
from django_partisan.config.queues import DEFAULT_QUEUE
from django_partisan.telemetry import bus
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events import (
    Enqueueing,
    Event,
    OutcomesSettled,
    Running,
    Scope,
    TasksClaimed,
)
from django_partisan.tracing import losses, spans
from django_partisan.tracing.attributes import Attributes, Describing, of_run
from django_partisan.tracing.carrying import (
    ROOT,
    extracted,
    injected,
    links_of_run,
    links_to_tasks,
    suppressed,
)
from django_partisan.tracing.flushing import flush
from django_partisan.tracing.outcomes import NANOSECONDS, OUTCOMES
from django_partisan.tracing.run_scope import RunScope
from django_partisan.tracing.scopes import Around, BatchScope, SendScope, current
from django_partisan.tracing.sdk import configured_tracer, import_exporter
from django_partisan.tracing.settling import RunsToSettle
from django_partisan.tracing.switches import Switches

_NO_SPAN: Final = nullcontext()
_SWITCHES: Final[Mapping[type, str]] = {TasksClaimed: "TRACE_CLAIMS", OutcomesSettled: "TRACE_SETTLES"}


class TracingSubscriber(Subscriber):
    """Make the spans of ``tracing.spans``.

    A worker gives the pid of its manager and its slot, a manager its own pid and the queue. While no SDK is
    configured, whoever calls pays for the question alone.
    """

    name = spans.COUNTED_AS

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
        self._switches = Switches(fixed=slot is not None)
        self._describing = Describing(manager_pid, slot, self._switches)
        self._reports = losses.Reports(queue)
        self._runs = RunsToSettle()

    def wants(self, kind: type[Event]) -> bool:
        setting = _SWITCHES.get(kind)
        if kind not in OUTCOMES and setting is None:
            return False
        return self._recording() is not None and (setting is None or bool(self._switches[setting]))

    def handle(self, event: Event) -> None:
        if isinstance(event, TasksClaimed):
            self._claimed(event)
        elif isinstance(event, OutcomesSettled):
            self._after(
                spans.SETTLE, event, self._runs.links(event.task_ids) or links_to_tasks(event.contexts)
            )
        else:
            self._ended(event)

    def around(self, scope: Scope) -> AbstractContextManager[None]:
        tracer = self._recording()
        if tracer is None:
            return _NO_SPAN
        if isinstance(scope, Running):
            return self._around_run(tracer, scope)
        return self._around_enqueueing(tracer, scope)

    def headers(self) -> dict[str, str]:
        """Return the context for a task's row.

        Inside a run, and not in an enqueueing, that is what its own row takes on when it is put back.
        """
        scope = current.get()
        # Where nothing records, what came from elsewhere still passes through.
        return injected() if scope is None else scope.headers()

    def quiet(self) -> AbstractContextManager[None]:
        """Return a context manager in which this thread's queries and requests are not traced."""
        return suppressed()

    def preload(self) -> None:
        import_exporter()

    def take(self) -> Any:
        lost, ended = losses.taken(), self._runs.taken()
        return (lost, ended) if lost or ended else None

    def absorb(self, slot: int, value: Any) -> None:
        lost, ended = value
        self._runs.absorb(ended)
        self._reports.add(lost)

    def close(self, timeout: float) -> None:
        if not flush(timeout, self._provider):
            losses.count_unsent()
        if self._slot is None:  # a worker's losses go up with its last message
            self._reports.add(losses.taken())
            self._reports.tell(at_once=True)

    def _recording(self) -> Tracer | None:
        """Return the tracer, or ``None`` while no SDK is configured."""
        if self._tracer is None:
            self._tracer = configured_tracer(self._provider)
            if self._tracer is not None:
                bus.refresh()  # events that nobody wanted so far are of use now
        return self._tracer

    def _around_enqueueing(self, tracer: Tracer, scope: Enqueueing) -> Around:
        if scope.count == 1:
            attributes = self._describing.common(spans.SEND, scope.queue, scope.processor)
            return SendScope(self._start(tracer, spans.SEND, scope, attributes), scope)
        common = self._describing.common(spans.BATCH_SEND, scope.queue)
        span = self._start(tracer, spans.BATCH_SEND, scope, {**common, spans.MESSAGE_COUNT: scope.count})
        return BatchScope(span, scope, tracer, self._describing)

    def _start(self, tracer: Tracer, span: str, scope: Enqueueing, attributes: Attributes) -> trace.Span:
        name = self._describing.name(span, scope.queue, scope.processor)
        return tracer.start_span(name, kind=spans.SPANS[span].kind, attributes=attributes)

    def _around_run(self, tracer: Tracer, scope: Running) -> Around:
        run = scope.run
        propagation = scope.propagation or self._switches["TRACE_PROPAGATION"]
        carried, parent = extracted(run.headers), ROOT
        links: list[Link] = []
        if run.attempt > 1 or propagation == observability.PROPAGATION_LINK:
            links = links_of_run(carried, run.headers, run.attempt)
        elif propagation == observability.PROPAGATION_CHILD:
            parent = carried
        else:
            carried = ROOT
        common = self._describing.common(spans.PROCESS, run.queue, run.processor, run.slot)
        name = self._describing.name(spans.PROCESS, run.queue, run.processor)
        light_spans = getattr(self._provider or trace.get_tracer_provider(), "light_spans", None)
        if light_spans is not None:
            span = light_spans.start(name, parent, links, common, run)
        else:
            kind = spans.SPANS[spans.PROCESS].kind
            span = tracer.start_span(name, parent, kind, of_run(common, run), links)
        return RunScope(span, carried, run)

    def _ended(self, event: Any) -> None:
        scope = current.get()
        # A manager tells of runs that are not under way here.
        if isinstance(scope, RunScope) and scope.run.id == event.run.id:
            OUTCOMES[type(event)](scope, event)
            if self._slot is not None and self._switches["TRACE_SETTLES"]:
                self._runs.end(event.run.id, scope.span)

    def _claimed(self, event: TasksClaimed) -> None:
        if event.number:
            self._after(spans.CLAIM, event, links_to_tasks(event.contexts))
        self._reports.add(losses.taken())

    def _after(self, span: str, event: TasksClaimed | OutcomesSettled, links: list[Link]) -> None:
        """Make the span of something that ended just now."""
        tracer = self._recording()
        if tracer is None:
            return
        ended = time.time_ns()
        name = self._describing.name(span, event.queue)
        attributes: Attributes = {
            **self._describing.common(span, event.queue),
            spans.MESSAGE_COUNT: event.number,
        }
        started = ended - int(event.seconds * NANOSECONDS)
        tracer.start_span(name, ROOT, spans.SPANS[span].kind, attributes, links, started).end(ended)
