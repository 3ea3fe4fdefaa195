"""Count the spans that never reach a collector, in each process; the manager reports them.

This also limits the SDK's own warnings about failed exports, which every process would repeat for every
batch.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from django_partisan import outcomes
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.telemetry import TelemetryDropped

QUEUE_FULL: Final = "span_queue_full"
EXPORT_FAILED: Final = "span_export_failed"
NOT_FLUSHED: Final = "span_not_flushed"
INTERVAL_SECONDS: Final = 60.0
SDK_LOGGER: Final = "opentelemetry"

unexported: Final[list[Callable[[], int]]] = []
"""Functions that each return how many spans of this process an exporter still has to export."""

_lock = threading.Lock()
_counts: Counter[str] = Counter()


def count(reason: str, spans: int) -> None:
    """Count spans dropped in this process."""
    with _lock:
        _counts[reason] += spans


def waiting() -> int:
    """Return how many spans of this process are waiting for a collector."""
    return sum(of_one() for of_one in unexported)


def taken() -> dict[str, int]:
    """Return how many spans this process has dropped since the last call, by reason."""
    with _lock:
        found = dict(+_counts)  # without zeros
        _counts.clear()
    return found


class OnceAMinute:
    """A rate limit that lets each key pass once a minute."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._passed_at: dict[Any, float] = {}

    def lets_pass(self, key: Any) -> bool:
        """Return whether ``key`` may pass: it did not pass within the last minute. If so, it passes now."""
        now = self._clock()
        if now - self._passed_at.get(key, -INTERVAL_SECONDS) < INTERVAL_SECONDS:
            return False
        self._passed_at[key] = now
        return True


class DroppedSpans:
    """Reports the dropped spans of a manager and its workers as events, each reason at most once a minute.

    A worker reports how many of its spans are waiting for a collector; if it dies, these count as dropped.
    """

    def __init__(self, queue: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._limit = OnceAMinute(clock)
        self._unreported: Counter[str] = Counter()
        self.waiting: dict[int, int] = {}
        """How many spans of each worker are waiting, by its pid; a worker that has flushed reports 0."""

    def add(self, dropped: Mapping[str, int], at_once: bool = False) -> None:
        """Add counts by reason and report those that are due; with ``at_once``, report all."""
        self._unreported.update(dropped)
        for reason in list(self._unreported):
            if at_once or self._limit.lets_pass(reason):
                bus.emit(TelemetryDropped, self._queue, reason, self._unreported.pop(reason))

    def worker_exited(self, pid: int) -> None:
        """Count the spans that were lost with a worker."""
        left = self.waiting.pop(pid, 0)
        if left:
            self.add({outcomes.REASON_WORKER_LOST: left})


def limit_sdk_warnings(silent: bool) -> None:
    """Limit each SDK warning to once a minute, or silence them all, unless the project has set up logging."""
    logger = logging.getLogger(SDK_LOGGER)
    if logger.handlers or logging.getLogger().handlers:
        return
    handler = logging.NullHandler() if silent else logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(logging.Formatter("OpenTelemetry: %(message)s"))
    limit = OnceAMinute()
    handler.addFilter(lambda record: limit.lets_pass(record.msg))
    logger.addHandler(handler)
