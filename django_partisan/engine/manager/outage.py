"""Outages of the database: count failures, and decide when to try again.

Claiming and settling use separate connections, so each notices an outage separately and emits its own events.
They share one pause, so that not every connection tries a database that is down. The outage is over when it
has ended for all of them.
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


def is_temporary(error: Error) -> bool:
    """Return whether an error is temporary: a lock, or an outage, which claims report.

    A missing table or privilege is not temporary, although claims wait for it, too.
    """
    kind = kind_of(error)
    return kind is ErrorKind.LOCKED or (kind in AWAY and not is_schema_error(error))


class SharedOutage:
    """The pause that all outages of one manager share while the database is down, and their common end."""

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self._since = 0.0
        self._failures = 0
        self._in_a_row = 0
        self._retry_at = 0.0
        self._first: Outage | None = None
        self._on: list[Outage] = []

    @property
    def is_on(self) -> bool:
        """True while any outage is on."""
        return bool(self._on)

    def retry_at(self, outage: "Outage") -> float:
        """Return the monotonic time of the next try; the one that failed first starts, the others follow."""
        if self._in_a_row < 2:  # a single failure may concern one connection only
            return 0.0
        return self._retry_at if outage is self._first else self._retry_at + PAUSE_SECONDS

    def note(self, outage: "Outage") -> None:
        """Count a failure of an outage."""
        if not self._on:
            self._since = time.monotonic()
            self._failures = 0
        if outage not in self._on:
            self._on.append(outage)
        self._failures += 1

    def pause(self, outage: "Outage") -> None:
        """Start the shared pause, because the database was down for a caller."""
        self._first = self._first or outage
        self._in_a_row += 1
        self._retry_at = time.monotonic() + pause_after(self._in_a_row, PAUSE_SECONDS, PAUSE_AT_MOST_SECONDS)

    def answered(self) -> None:
        """End the shared pause, because the database has answered."""
        if self._in_a_row:
            self._in_a_row, self._first = 0, None
            for outage in self._on:
                outage.shorten_pause()

    def end(self, outage: "Outage") -> None:
        """Record the end of one outage; emit ``DatabaseRestored`` when the last one ends."""
        self._on.remove(outage)
        if not self._on:
            seconds = time.monotonic() - self._since
            bus.emit(DatabaseRestored, self.queue, self._failures, seconds)


class Outage:
    """Failures in a row of related calls; the pause before the next try doubles, up to three seconds."""

    def __init__(self, shared: SharedOutage) -> None:
        self._shared = shared
        self._queue = shared.queue
        self._failures = 0
        self._failed_at = 0.0
        self._retry_at = 0.0
        self.error = NO_ERROR

    @property
    def is_on(self) -> bool:
        """True from the first failure until ``end()``."""
        return self._failures > 0

    @property
    def has_paused(self) -> bool:
        """True if ``fail()`` has set a pause, and not only ``note()`` was called."""
        return self._retry_at > 0.0

    @property
    def retry_at(self) -> float:
        """Monotonic time of the next try."""
        return max(self._retry_at, self._shared.retry_at(self))

    def fail(self, error: Exception) -> bool:
        """Record a failure and pause; return True for the first one."""
        is_first = self.note(error)
        self._failed_at = time.monotonic()
        self._retry_at = self._failed_at + pause_after(self._failures, PAUSE_SECONDS, PAUSE_AT_MOST_SECONDS)
        if isinstance(error, Error) and kind_of(error) in AWAY:
            self._shared.pause(self)
        return is_first

    def note(self, error: Exception) -> bool:
        """Record a failure without a pause, which the caller sets itself; return True for the first one."""
        self.error = ErrorInfo.of(error)
        self._failures += 1
        self._shared.note(self)
        return self._failures == 1

    def shorten_pause(self) -> None:
        """Shorten the pause, because another connection got an answer."""
        self._retry_at = min(self._retry_at, self._failed_at + PAUSE_SECONDS)

    def end(self) -> None:
        """Record that the database answers; emit ``DatabaseRestored`` if that ends the last outage."""
        self._shared.answered()
        if self._failures:
            self._failures = 0
            self._retry_at = 0.0
            self.error = NO_ERROR  # a kept exception would keep the objects in its frames alive
            self._shared.end(self)


class ClaimOutage(Outage):
    """The outage of claims, promotion, and the heartbeats that claims wait for."""

    def note(self, error: Exception) -> bool:
        """Record a failure; emit ``ClaimErrored`` for each one, and ``ClaimFailed`` for the first."""
        is_first = super().note(error)
        bus.emit(ClaimErrored, self._queue)
        if is_first:
            bus.emit(ClaimFailed, self._queue, self.error)
        return is_first
