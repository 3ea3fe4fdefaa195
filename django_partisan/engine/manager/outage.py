"""A time in which the database does not answer: how many failures, and when to try again.

Claims and settles notice it separately, over connections of their own, and emit their own events. They share
one pause, so that not every connection tries a database that is away, and one end.
"""

import time
from typing import Final

from django.db import Error

from django_partisan.engine.manager.retry_pause import pause_after
from django_partisan.sql.errors import ErrorKind, is_schema_error, kind_of
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.managers import DatabaseRestored
from django_partisan.telemetry.events.queues import ClaimErrored, ClaimFailed
from django_partisan.telemetry.events.values import ErrorInfo

PAUSE_SECONDS: Final = 0.25
PAUSE_AT_MOST_SECONDS: Final = 3.0
NO_ERROR: Final = ErrorInfo("", "", "")
AWAY: Final = frozenset({ErrorKind.OUTAGE, ErrorKind.READ_ONLY})


def passes(error: Error) -> bool:
    """Return whether an error ends by itself: of a lock, or of a database that is away, as claims report.

    A table or privilege that is missing does not come back by itself, though claims wait for it too.
    """
    kind = kind_of(error)
    return kind is ErrorKind.LOCKED or (kind in AWAY and not is_schema_error(error))


class SharedOutage:
    """What the outages of one manager have in common: a pause while the database is away, and their end."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self._since = 0.0
        self._failures = 0
        self._in_a_row = 0
        self._over_at = 0.0
        self._first: Outage | None = None
        self._on: list[Outage] = []

    @property
    def is_on(self) -> bool:
        """True while any outage is on."""
        return bool(self._on)

    def over_at(self, outage: "Outage") -> float:
        """Return the monotonic time of the next try; who failed first tries first, the others follow."""
        if self._in_a_row < 2:  # one failure may be the connection's alone
            return 0.0
        return self._over_at if outage is self._first else self._over_at + PAUSE_SECONDS

    def note(self, outage: "Outage") -> None:
        """Note a failure."""
        if not self._on:
            self._since = time.monotonic()
            self._failures = 0
        if outage not in self._on:
            self._on.append(outage)
        self._failures += 1

    def pause(self, outage: "Outage") -> None:
        """Note that the database was away for one of its callers."""
        self._first = self._first or outage
        self._in_a_row += 1
        self._over_at = time.monotonic() + pause_after(self._in_a_row, PAUSE_SECONDS, PAUSE_AT_MOST_SECONDS)

    def answered(self) -> None:
        """Note that the database is there: nobody waits any more."""
        if self._in_a_row:
            self._in_a_row, self._first = 0, None
            for outage in self._on:
                outage.hurry()

    def end(self, outage: "Outage") -> None:
        """Note the end of one outage; emit ``DatabaseRestored`` with the last."""
        self._on.remove(outage)
        if not self._on:
            seconds = time.monotonic() - self._since
            bus.emit(DatabaseRestored, self.queue, self._failures, seconds)


class Outage:
    """Count failures in a row; the pause before the next try doubles, up to three seconds."""

    def __init__(self, shared: SharedOutage) -> None:
        self._shared = shared
        self._queue = shared.queue
        self._failures = 0
        self._failed_at = 0.0
        self._over_at = 0.0
        self.error = NO_ERROR

    @property
    def is_on(self) -> bool:
        """True from the first failure until ``end()``."""
        return self._failures > 0

    @property
    def has_paused(self) -> bool:
        """True if the outage is one of calls of our own, and not only noted."""
        return self._over_at > 0.0

    @property
    def over_at(self) -> float:
        """Monotonic time of the next try."""
        return max(self._over_at, self._shared.over_at(self))

    def fail(self, error: Exception) -> bool:
        """Note a failure, after which to pause; return True if it is the first."""
        is_first = self.note(error)
        self._failed_at = time.monotonic()
        self._over_at = self._failed_at + pause_after(self._failures, PAUSE_SECONDS, PAUSE_AT_MOST_SECONDS)
        if isinstance(error, Error) and kind_of(error) in AWAY:
            self._shared.pause(self)
        return is_first

    def note(self, error: Exception) -> bool:
        """Note a failure of a caller that has a pause of its own; return True if it is the first."""
        self.error = ErrorInfo.of(error)
        self._failures += 1
        self._shared.note(self)
        return self._failures == 1

    def hurry(self) -> None:
        """Try soon, because another connection got an answer."""
        self._over_at = min(self._over_at, self._failed_at + PAUSE_SECONDS)

    def end(self) -> None:
        """Note that the database answers; emit ``DatabaseRestored`` if it did not before."""
        self._shared.answered()
        if self._failures:
            self._failures = 0
            self._over_at = 0.0
            self.error = NO_ERROR  # the exception would keep the objects in its frames alive
            self._shared.end(self)


class ClaimOutage(Outage):
    """The outage of claims and promotion, and of the heartbeat that claims wait for."""

    def note(self, error: Exception) -> bool:
        """Note a failure; emit ``ClaimErrored`` for each, and ``ClaimFailed`` for the first."""
        is_first = super().note(error)
        bus.emit(ClaimErrored, self._queue)
        if is_first:
            bus.emit(ClaimFailed, self._queue, self.error)
        return is_first
