"""A time in which the database does not answer: how many failures, and when to try again."""

import time
from typing import Final

from django_partisan.telemetry import bus
from django_partisan.telemetry.events import ClaimFailed, DatabaseRestored, ErrorInfo

PAUSE_SECONDS: Final = 0.25
PAUSE_AT_MOST_SECONDS: Final = 3.0


class Outage:
    """Count failures in a row; the pause before the next try doubles, up to three seconds."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._since = 0.0
        self._failures = 0
        self.over_at = 0.0
        """Monotonic time of the next try."""
        self.error = ErrorInfo("", "", "")

    @property
    def is_on(self) -> bool:
        """True from the first failure until ``end()``."""
        return self._failures > 0

    def fail(self, error: Exception) -> bool:
        """Note a failure, after which to pause; return True if it is the first."""
        is_first = self.note(error)
        pause = min(PAUSE_SECONDS * 2 ** min(self._failures - 1, 10), PAUSE_AT_MOST_SECONDS)
        self.over_at = time.monotonic() + pause
        return is_first

    def note(self, error: Exception) -> bool:
        """Note a failure of a caller that has a pause of its own; return True if it is the first."""
        self.error = ErrorInfo.of(error)
        if not self._failures:
            self._since = time.monotonic()
        self._failures += 1
        return self._failures == 1

    def end(self) -> None:
        """Note that the database answers; emit ``DatabaseRestored`` if it did not before."""
        if self._failures:
            bus.emit(DatabaseRestored, self._queue, self._failures, time.monotonic() - self._since)
            self._failures = 0
            self.over_at = 0.0


class ClaimOutage(Outage):
    """The outage of claims and promotion, and of the heartbeat that claims wait for."""

    def note(self, error: Exception) -> bool:
        """Note a failure; emit ``ClaimFailed`` for the first."""
        is_first = super().note(error)
        if is_first:
            bus.emit(ClaimFailed, self._queue, self.error)
        return is_first
