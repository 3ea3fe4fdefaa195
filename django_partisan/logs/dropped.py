"""Log lines that were dropped because nobody took them: counted in each process, reported by the manager."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from django_partisan.telemetry import bus
from django_partisan.telemetry.events import TelemetryDropped

OUTPUT_STALLED: Final = "log_output_stalled"
"""Nobody read standard output or a FIFO, and the buffer before it was full."""
HANDLER_STALLED: Final = "log_handler_stalled"
"""A handler did not return in the manager, and the queue before it was full."""
INTERVAL_SECONDS: Final = 60.0

_lock = threading.RLock()  # a signal handler may log, too
_counts: Counter[str] = Counter()


def count(reason: str, lines: int = 1) -> None:
    """Count lines dropped in this process."""
    with _lock:
        _counts[reason] += lines


def taken() -> dict[str, int]:
    """Return how many lines this process dropped since the last call, by reason."""
    if not _counts:
        return {}
    with _lock:
        found = dict(_counts)
        _counts.clear()
    return found


class DroppedLines:
    """Report the dropped lines of a manager and its workers as events, each reason once a minute."""

    def __init__(self, queue: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock = clock
        self._lock = threading.Lock()
        self._unreported: Counter[str] = Counter()
        self._next_at: dict[str, float] = {}

    def add(self, dropped: Mapping[str, int]) -> None:
        """Add counts by reason."""
        with self._lock:
            self._unreported.update(dropped)

    def report(self, at_once: bool = False) -> None:
        """Report the reasons that are due, or all ``at_once``, with what this process dropped."""
        self.add(taken())
        with self._lock:
            now = self._clock()
            is_due = {reason: at_once or now >= self._next_at.get(reason, now) for reason in self._unreported}
            due = {reason: self._unreported.pop(reason) for reason, is_now in is_due.items() if is_now}
            self._next_at.update(dict.fromkeys(due, now + INTERVAL_SECONDS))
        for reason, lines in due.items():
            bus.emit(TelemetryDropped, self._queue, reason, lines)

    def due_in(self) -> float | None:
        """Return the seconds until something is to be reported, or ``None`` if nothing is."""
        self.add(taken())
        with self._lock:
            now = self._clock()
            waits = [self._next_at.get(reason, now) - now for reason in self._unreported]
        return max(0.0, min(waits)) if waits else None
