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
EVENTS: Final[dict[type[Event], str]] = {
    PipeBroken: "pipe_broken",
    TelemetryFlushTimedOut: "flush_timeout",
    MetricsUnknown: "unknown_metric",
}
"""Events that report lost telemetry, each with its reason."""
COUNTED_ELSEWHERE: Final = frozenset({CONTEXT, *EVENTS.values()})
"""Reasons that metrics count from other events."""
INTERVAL_SECONDS: Final = 60.0

_lock = threading.RLock()  # a signal handler may log, too
_counts: Counter[str] = Counter()
_contexts = swallowed.counts["headers"]


def count(reason: str, number: int = 1) -> None:
    """Count dropped telemetry of this process."""
    add({reason: number})


def add(dropped: Mapping[str, int]) -> None:
    """Add counts by reason, of this process or of a worker."""
    with _lock:
        _counts.update(dropped)


def note(event: Event) -> None:
    """Count the loss that an event of ``EVENTS`` reports."""
    count(EVENTS[type(event)], event.number if isinstance(event, MetricsUnknown) else 1)


def taken() -> dict[str, int]:
    """Return how much has been dropped since the last call, by reason."""
    _count_contexts()
    if not _counts:
        return {}
    with _lock:
        found = dict(_counts)
        _counts.clear()
    return found


def _count_contexts() -> None:
    global _contexts
    if (contexts := swallowed.counts["headers"]) != _contexts:
        count(CONTEXT, max(contexts - _contexts, 0))
        _contexts = contexts


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
        self._next_at: dict[str, float] = {}

    def report(self, at_once: bool = False) -> None:
        """Report the reasons that are due, or all with ``at_once``."""
        with _lock:
            waits = self._waits()
            due = {reason: _counts.pop(reason) for reason, wait in waits.items() if at_once or wait <= 0}
            self._next_at.update(dict.fromkeys(due, self._clock() + INTERVAL_SECONDS))
        for reason, number in due.items():
            if reason in COUNTED_ELSEWHERE:
                self._log(TelemetryDropped(self._queue, reason, number))
            else:
                bus.emit(TelemetryDropped, self._queue, reason, number)

    def due_in(self) -> float | None:
        """Return the seconds until the next report, not above 0 if it is due; ``None`` if there is none."""
        with _lock:
            return min(self._waits().values(), default=None)

    def _waits(self) -> dict[str, float]:
        _count_contexts()
        now = self._clock()
        return {reason: self._next_at.get(reason, now) - now for reason in list(_counts)}
