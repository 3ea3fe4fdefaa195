"""The subscriber that counts facts, and hands the additions on when asked."""

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
    Fact,
    MeasureCounted,
    MeasureObserved,
    Run,
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
)

PENDING_MAX: Final = 5_000
"""Facts that wait to be counted before they are counted without being asked."""
LOOK_FOR_TRACING_SECONDS: Final = 1.0

_MEASURES: Final = frozenset({MeasureCounted, MeasureObserved})
_OUTCOME: Final[dict[type, str]] = {
    TaskCompleted: series.COMPLETED,
    TaskPostponed: series.POSTPONED,
    TaskRetried: series.RETRIED,
    TaskFailed: series.FAILED,
}


class Recorder(bus.Subscriber):
    """Gather facts at the cost of a list's ``append``, and count them when ``take()`` is called.

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

    def wants(self, kind: type[Fact]) -> bool:
        """Want what is counted, and if runs are traced, each that completed, for its exemplar."""
        self._look_for_tracing()
        return kind in COUNTED or (kind is TaskCompleted and self._tracing)

    def handle(self, fact: Any) -> None:
        """Keep the fact for later; may be called from any thread."""
        if self._tracing:
            self._note_trace(fact)
        if type(fact) is TaskCompleted:
            return  # counted with others, as RunsCompleted
        pending = self._pending
        pending.append(fact)
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
            facts = pending[:]
            del pending[: len(facts)]  # a thread may have appended meanwhile
            for fact in facts:
                if type(fact) in _MEASURES and fact.name not in self._metrics:
                    self._metrics.update(custom.declared(registry.registered().values()))
                COUNTED[type(fact)](self._counting, fact)

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

    def _note_trace(self, fact: Any) -> None:
        """Keep one example of each processor and outcome until they are counted."""
        outcome = _OUTCOME.get(type(fact))
        if outcome is None or fact.seconds is None or not isinstance(fact.run, Run):
            return
        exemplars = self._counting.exemplars
        if (fact.run.processor, outcome) in exemplars:
            return
        span = trace.get_current_span()
        context = span.get_span_context()
        if context.trace_flags.sampled and span.is_recording():
            ids = (trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id))
            now = time.time()
            examples = ((*ids, fact.seconds, now), (*ids, fact.run.wait_seconds, now))
            exemplars[fact.run.processor, outcome] = examples
