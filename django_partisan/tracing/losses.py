"""Spans that were lost: counted where it happens, told by the manager, each reason once a minute."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

from django_partisan.telemetry import bus
from django_partisan.telemetry.events import TelemetryDropped

QUEUE_FULL: Final = "span_queue_full"
EXPORT_FAILED: Final = "span_export_failed"
NOT_FLUSHED: Final = "span_not_flushed"
INTERVAL_SECONDS: Final = 60.0

unsent: Final[list[Callable[[], int]]] = []
"""Each tells how many spans of this process an exporter has not got rid of yet."""

_lock = threading.Lock()
_counts: Counter[str] = Counter()


def count(reason: str, spans: int) -> None:
    """Count spans lost in this process."""
    with _lock:
        _counts[reason] += spans


def count_unsent() -> None:
    """Count as lost what no exporter has got rid of; called when the process waits no longer for them."""
    spans = sum(ask() for ask in unsent)
    if spans:
        count(NOT_FLUSHED, spans)


def taken() -> dict[str, int]:
    """Return what was lost in this process since the last call, by reason."""
    if not _counts:
        return {}
    with _lock:
        found = dict(_counts)
        _counts.clear()
    return found


class Reports:
    """Tell losses of all processes of one manager as events."""

    def __init__(self, queue: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._clock = clock
        self._untold: Counter[str] = Counter()
        self._told_at: dict[str, float] = {}

    def add(self, lost: Mapping[str, int]) -> None:
        """Add counts by reason, and tell what is due to be told."""
        self._untold.update(lost)
        self.tell()

    def tell(self, at_once: bool = False) -> None:
        """Tell each reason that was not told for a minute; ``at_once`` tells all."""
        for reason, lost in list(self._untold.items()):
            now = self._clock()
            if at_once or now - self._told_at.get(reason, -INTERVAL_SECONDS) >= INTERVAL_SECONDS:
                del self._untold[reason]
                self._told_at[reason] = now
                bus.emit(TelemetryDropped, self._queue, reason, lost)
