"""The subscriber that counts events, and hands the additions on when asked."""

import threading
import time
from collections import Counter
from typing import Any, Final

from opentelemetry import trace

from django_partisan import registry
from django_partisan.metrics import catalogue, custom, series
from django_partisan.metrics.additions import Additions, Value
from django_partisan.metrics.counting import COUNTED, Counting
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    Event,
    MeasureCounted,
    MeasureObserved,
    Run,
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
)

PENDING_MAX: Final = 5_000
"""Events that wait to be counted before they are counted without being asked."""
LOOK_FOR_TRACING_SECONDS: Final = 1.0

_MEASURES: Final = frozenset({MeasureCounted, MeasureObserved})
_OUTCOME: Final[dict[type, str]] = {
    TaskCompleted: series.COMPLETED,
    TaskPostponed: series.POSTPONED,
    TaskRetried: series.RETRIED,
    TaskFailed: series.FAILED,
}


class Recorder(bus.Subscriber):
    """Gather events at the cost of a list's ``append``, and count them when ``take()`` is called.

    Completed runs come many at a time, once a message, as they are too many to be told one by one.
    """

    name = "metrics"

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self._metrics = dict(catalogue.METRICS)
        self._additions = Additions(self._metrics)
        self._counting = Counting(self._additions)
        self._pending: list[Any] = []
        self._lock = threading.Lock()
        self._swallowed: Counter[str] = Counter(bus.swallowed)
        self._tracing = False
        self._look_again_at = 0.0

    def wants(self, kind: type[Event]) -> bool:
        """Want what is counted, and if runs are traced, each that completed, for its exemplar."""
        self._look_for_tracing()
        return kind in COUNTED or (kind is TaskCompleted and self._tracing)

    def handle(self, event: Any) -> None:
        """Keep the event for later; may be called from any thread."""
        if self._tracing:
            self._note_trace(event)
        if type(event) is TaskCompleted:
            return  # counted with others, as RunsCompleted
        pending = self._pending
        pending.append(event)
        if len(pending) > PENDING_MAX:
            self._count()

    def take(self) -> Value | None:
        """Return what was added since the last call, or ``None``."""
        self._look_for_tracing()
        if self._pending:
            self._count()
        with self._lock:
            if bus.swallowed:
                self._count_swallowed()
            return self._additions.drain()

    def _look_for_tracing(self) -> None:
        # A provider comes at most once, and asking for it costs as much as counting a task.
        if not self._tracing and time.monotonic() > self._look_again_at:
            self._tracing = type(trace.get_tracer_provider()) is not trace.ProxyTracerProvider
            self._look_again_at = time.monotonic() + LOOK_FOR_TRACING_SECONDS

    def _count(self) -> None:
        with self._lock:
            pending = self._pending
            events = pending[:]
            del pending[: len(events)]  # a thread may have appended meanwhile
            for event in events:
                if type(event) in _MEASURES and event.name not in self._metrics:
                    self._metrics.update(custom.declared(registry.definitions.values()))
                COUNTED[type(event)](self._counting, event)

    def _count_swallowed(self) -> None:
        for name, total in bus.swallowed.items():
            more = total - self._swallowed[name]
            if more > 0:
                self._swallowed[name] = total
                if name == "headers":
                    labels = self.queue, series.DROPPED_CONTEXT
                    self._additions.count((catalogue.TELEMETRY_DROPPED.name, labels), more)
                else:
                    self._additions.count((catalogue.TELEMETRY_ERRORS.name, (name,)), more)

    def _note_trace(self, event: Any) -> None:
        """Keep one example of each processor and outcome until they are counted."""
        outcome = _OUTCOME.get(type(event))
        if outcome is None or event.seconds is None or not isinstance(event.run, Run):
            return
        exemplars = self._counting.exemplars
        if (event.run.processor, outcome) in exemplars:
            return
        span = trace.get_current_span()
        context = span.get_span_context()
        if context.trace_flags.sampled and span.is_recording():
            ids = (trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id))
            now = time.time()
            examples = ((*ids, event.seconds, now), (*ids, event.run.wait_seconds, now))
            exemplars[event.run.processor, outcome] = examples
