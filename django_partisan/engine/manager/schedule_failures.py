"""What is done when a duty for schedules fails: report it once, and try again later; it ends no manager."""

import time
from collections.abc import Mapping
from typing import Final

from django.db import Error

from django_partisan.engine.manager.outage import passes
from django_partisan.engine.manager.tick_errors import TickError, describe
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import SchedulesFailed

RETRY_SECONDS: Final = 1.0
"""The pause after the first failure; it doubles with each one in a row, but not during an outage."""
RETRY_SECONDS_AT_MOST: Final = 60.0
FORGET_SECONDS: Final = 600.0
"""An error that has not occurred for this long is reported again."""


class ScheduleFailures:
    """Emit each kind of error once, and say when the duty is tried again.

    ``duty`` is one of ``outcomes.SCHEDULE_DUTIES``.
    """

    def __init__(self, queue: str, duty: str) -> None:
        self._queue = queue
        self._duty = duty
        self._reported: set[tuple[str | None, str]] = set()
        self._failed_at = 0.0
        self._in_a_row = 0
        self.retry_at = 0.0
        """Monotonic time before which the duty is not tried again."""

    def fail(self, error: Exception) -> None:
        """Note that the duty failed as a whole; an outage is left to those who report it."""
        if isinstance(error, Error) and passes(error):
            self.retry_at = time.monotonic() + RETRY_SECONDS
        else:
            self.retry_at = self._note({None: describe(error)})

    def leave_out(self, refused: Mapping[str, TickError]) -> float:
        """Note that the duty failed for some schedules, and was done for the others.

        Return the monotonic time at which to try these again.
        """
        self.retry_at = 0.0
        return self._note(refused)

    def end(self) -> None:
        """Note that the duty was done."""
        self._in_a_row, self.retry_at = 0, 0.0

    def _note(self, errors: Mapping[str, TickError] | Mapping[None, TickError]) -> float:
        now = time.monotonic()
        if now - self._failed_at > FORGET_SECONDS:
            self._reported.clear()
        self._failed_at = now
        doubled: float = RETRY_SECONDS * 2 ** min(self._in_a_row, 10)
        self._in_a_row += 1
        for schedule, error in errors.items():
            if (schedule, error.kind) not in self._reported:
                self._reported.add((schedule, error.kind))
                bus.emit(SchedulesFailed, self._queue, self._duty, schedule, error.info)
        return now + min(doubled, RETRY_SECONDS_AT_MOST)
