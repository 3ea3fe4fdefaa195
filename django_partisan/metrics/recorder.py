"""Count events: in workers for the next report, in the manager for the next scrape."""

import threading
import time
from collections import Counter
from typing import Any, Final

from opentelemetry import trace

from django_partisan.metrics import catalogue
from django_partisan.metrics.aggregator import Aggregator
from django_partisan.metrics.counting import COUNTED, EventCounter
from django_partisan.metrics.deltas import Report
from django_partisan.metrics.gauges import Peaks
from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.runs import OUTCOME_OF, TaskCompleted
from django_partisan.telemetry.events.telemetry import MetricsUnknown
from django_partisan.telemetry.events.values import Run
from django_partisan.telemetry.events.workers import WorkerExited

PENDING_MAX: Final = 5_000
"""The highest number of events that wait for ``take()`` to count them."""

_WITH_ERROR: Final = frozenset(kind for kind in COUNTED if "error" in getattr(kind, "_fields", ()))


class Recorder(bus.Subscriber):
    """The subscriber that collects events, and counts them when ``take()`` is called.

    Completed runs come in batches, once per report, because one event per run would cost too much.
    """

    name = "metrics"

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self._counter = EventCounter()
        self._pending: list[Any] = []
        self._lock = threading.Lock()
        self._swallowed: Counter[str] = Counter(swallowed.counts)
        self._tracing = False

    def wants(self, kind: type[Event]) -> bool:
        """Return whether ``kind`` is counted, or gives exemplars, as ``TaskCompleted`` does with tracing."""
        self._tracing = type(trace.get_tracer_provider()) is not trace.ProxyTracerProvider
        return kind in COUNTED or (kind is TaskCompleted and self._tracing)

    def handle(self, event: Any) -> None:
        """Keep the event for later; may be called from any thread."""
        if self._tracing:
            self._keep_exemplar(event)
        if type(event) is TaskCompleted:
            return  # counted with other runs, as RunsCompleted
        if type(event) in _WITH_ERROR:  # its exception refers to frames, which would stay alive until take()
            event = event._replace(error=event.error._replace(exception=None))
        pending = self._pending
        pending.append(event)
        if len(pending) > PENDING_MAX:
            self._count()

    def take(self) -> Report | None:
        """Return what was counted since the last call, or ``None``."""
        if self._pending:
            self._count()
        with self._lock:
            if swallowed.counts:
                self._count_swallowed()
            return self._counter.take()

    def _count(self) -> None:
        with self._lock:
            pending = self._pending
            events = pending[:]
            del pending[: len(events)]  # another thread may have appended more
            for event in events:
                COUNTED[type(event)](self._counter, event)

    def _count_swallowed(self) -> None:
        more = Counter(swallowed.counts) - self._swallowed
        self._swallowed += more
        for name, number in more.items():
            if name == "headers":
                dropped = (self.queue, catalogue.DROPPED_CONTEXT)
                self._counter.count(catalogue.TELEMETRY_DROPPED, dropped, number)
            else:
                self._counter.count(catalogue.TELEMETRY_ERRORS, (name,), number)

    def _keep_exemplar(self, event: Any) -> None:
        """Keep one exemplar for each processor and outcome until the events are counted."""
        outcome = OUTCOME_OF.get(type(event))
        if outcome is None or event.seconds is None or not isinstance(event.run, Run):
            return
        exemplars = self._counter.exemplars
        if (event.run.processor, outcome) in exemplars:
            return
        span = trace.get_current_span()
        context = span.get_span_context()
        if context.trace_flags.sampled and span.is_recording():
            ids = (trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id))
            now = time.time()
            duration, wait = (*ids, event.seconds, now), (*ids, event.run.wait_seconds, now)
            exemplars[event.run.processor, outcome] = duration, wait


class ManagerRecorder(Recorder):
    """The recorder of a manager, which aggregates its own events and the reports of its workers."""

    def __init__(self, queue: str, aggregator: Aggregator) -> None:
        super().__init__(queue)
        self.aggregator = aggregator
        self.peaks = Peaks()

    def handle(self, event: Any) -> None:
        """Keep the event for later; note the peak memory of a worker that exited."""
        if type(event) is WorkerExited:
            self.peaks.note(event.slot, event.peak_resident_bytes)
        super().handle(event)

    def absorb(self, slot: int, value: Any) -> None:
        """Add a worker's report."""
        message = (catalogue.TELEMETRY_MESSAGES.name, (self.queue,))
        unknown = self.aggregator.add(value)
        self.aggregator.add(({message: 1}, {}))
        if unknown:
            bus.emit(MetricsUnknown, self.queue, unknown)

    def flush(self) -> None:
        """Add the manager's own events."""
        report = self.take()
        if report is not None:
            self.aggregator.add(report)
