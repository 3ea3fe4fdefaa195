"""Count dropped telemetry in each process, and report it in the manager.

Dropped log lines are counted only here. Everything else is counted where it happens, and logged from
here.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.telemetry import (
    MetricsUnknown,
    PipeBroken,
    TelemetryDropped,
    TelemetryFlushTimedOut,
)

OUTPUT_STALLED: Final = "log_output_stalled"
"""Nobody read from standard output or a FIFO, and the buffer in front of it was full."""
HANDLER_STALLED: Final = "log_handler_stalled"
"""A handler in the manager did not return, and the queue in front of it was full."""
CONTEXT: Final = "context"
PIPE_BROKEN: Final = "pipe_broken"
FLUSH_TIMEOUT: Final = "flush_timeout"
UNKNOWN_METRIC: Final = "unknown_metric"
COUNTED_ELSEWHERE: Final = frozenset({CONTEXT, PIPE_BROKEN, FLUSH_TIMEOUT, UNKNOWN_METRIC})
"""Reasons that metrics count from other events."""
EVENTS: Final[dict[type[Event], str]] = {
    PipeBroken: PIPE_BROKEN,
    TelemetryFlushTimedOut: FLUSH_TIMEOUT,
    MetricsUnknown: UNKNOWN_METRIC,
}
"""Events that report lost telemetry, each with its reason."""
INTERVAL_SECONDS: Final = 60.0

_lock = threading.RLock()  # a signal handler may log, too
_counts: Counter[str] = Counter()
_contexts = swallowed.counts["headers"]


def count(reason: str, number: int = 1) -> None:
    """Count dropped telemetry of this process."""
    with _lock:
        _counts[reason] += number


def note(event: Event) -> None:
    """Count the loss that an event of ``EVENTS`` reports."""
    count(EVENTS[type(event)], event.number if isinstance(event, MetricsUnknown) else 1)


def taken() -> dict[str, int]:
    """Return how much this process has dropped since the last call, by reason."""
    global _contexts
    if (contexts := swallowed.counts["headers"]) != _contexts:
        count(CONTEXT, max(contexts - _contexts, 0))
        _contexts = contexts
    if not _counts:
        return {}
    with _lock:
        found = dict(_counts)
        _counts.clear()
    return found


class Dropped:
    """Reports what a manager and its workers dropped, each reason at most once a minute.

    Dropped lines are emitted as events; what is counted elsewhere is only passed to ``log``.
    """

    def __init__(
        self,
        queue: str,
        clock: Callable[[], float] = time.monotonic,
        log: Callable[[TelemetryDropped], None] = lambda event: None,
    ) -> None:
        self._queue = queue
        self._clock = clock
        self._log = log
        self._lock = threading.Lock()
        self._unreported: Counter[str] = Counter()
        self._next_at: dict[str, float] = {}

    def add(self, dropped: Mapping[str, int]) -> None:
        """Add counts by reason."""
        with self._lock:
            self._unreported.update(dropped)

    def report(self, at_once: bool = False) -> None:
        """Report the reasons that are due, or all with ``at_once``, including what this process dropped."""
        self.add(taken())
        with self._lock:
            now = self._clock()
            is_due = {reason: at_once or now >= self._next_at.get(reason, now) for reason in self._unreported}
            due = {reason: self._unreported.pop(reason) for reason, is_now in is_due.items() if is_now}
            self._next_at.update(dict.fromkeys(due, now + INTERVAL_SECONDS))
        for reason, number in due.items():
            if reason in COUNTED_ELSEWHERE:
                self._log(TelemetryDropped(self._queue, reason, number))
            else:
                bus.emit(TelemetryDropped, self._queue, reason, number)

    def due_in(self) -> float | None:
        """Return the seconds until the next report, or ``None`` if there is nothing to report."""
        self.add(taken())
        with self._lock:
            now = self._clock()
            waits = [self._next_at.get(reason, now) - now for reason in self._unreported]
        return max(0.0, min(waits)) if waits else None
