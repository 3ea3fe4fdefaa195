"""Report failed operations on schedules once, and decide when to try again; no failure ends the manager.

Outages are not reported here, because claims report them. A lock is reported if it outlasts several tries.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from django.db import Error

from django_partisan.engine.manager.outage import is_temporary
from django_partisan.engine.manager.retry_pause import pause_after
from django_partisan.engine.manager.tick_errors import TickError, describe, is_lock
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.schedules import ScheduleOperationFailed

RETRY_SECONDS: Final = 1.0
"""The pause after the first failure; it doubles with each failure in a row, except for locks and outages."""
RETRY_SECONDS_AT_MOST: Final = 60.0
LOCKED_OFTEN: Final = 5
"""A lock is reported after this many tries in a row; most locks are released sooner."""
FORGET_SECONDS: Final = 600.0
"""An error that has not occurred for this long is reported again when it occurs."""


class ScheduleFailures:
    """The failures of one operation: each kind of error is emitted once, and delays the next try.

    ``operation`` is one of ``outcomes.SCHEDULE_OPERATIONS``; ``clock`` returns monotonic time.
    """

    def __init__(self, queue: str, operation: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._queue = queue
        self._operation = operation
        self._clock = clock
        self._seen_at: dict[tuple[str | None, str], float] = {}
        """When each error last occurred, by schedule and kind; ``None`` stands for the whole operation."""
        self._failed_in_a_row = 0
        self._locked_in_a_row = 0
        self._refused_in_a_row = 0
        self.retry_at = 0.0
        """Monotonic time before which the operation is not tried again."""

    def fail(self, error: Exception) -> None:
        """Record that the whole operation failed."""
        pause = RETRY_SECONDS
        self._locked_in_a_row = self._locked_in_a_row + 1 if is_lock(error) else 0
        if self._locked_in_a_row >= LOCKED_OFTEN:
            self._emit({None: describe(error)})
        elif not _is_outage(error):
            self.report(error)
            self._failed_in_a_row += 1
            pause = pause_after(self._failed_in_a_row, RETRY_SECONDS, RETRY_SECONDS_AT_MOST)
        self.retry_at = self._clock() + pause

    def report(self, error: Exception) -> None:
        """Emit an error that occurred after the operation had succeeded, unless it is a lock or an outage."""
        if not _is_outage(error):
            self._emit({None: describe(error)})

    def leave_out(self, refused: Mapping[str, TickError]) -> float:
        """Record that the operation failed for some schedules and succeeded for the others.

        Return the monotonic time at which to try the failed ones again.
        """
        self._emit(refused)
        self._refused_in_a_row += 1
        self._failed_in_a_row, self._locked_in_a_row, self.retry_at = 0, 0, 0.0
        return self._clock() + pause_after(self._refused_in_a_row, RETRY_SECONDS, RETRY_SECONDS_AT_MOST)

    def end(self) -> None:
        """Record that the operation succeeded."""
        self._refused_in_a_row = 0
        self._failed_in_a_row, self._locked_in_a_row, self.retry_at = 0, 0, 0.0

    def _emit(self, errors: Mapping[str, TickError] | Mapping[None, TickError]) -> None:
        now = self._clock()
        self._seen_at = {one: at for one, at in self._seen_at.items() if now - at <= FORGET_SECONDS}
        for schedule, error in errors.items():
            if (schedule, error.kind) not in self._seen_at:
                bus.emit(ScheduleOperationFailed, self._queue, self._operation, schedule, error.info)
            self._seen_at[schedule, error.kind] = now


def _is_outage(error: Exception) -> bool:
    return isinstance(error, Error) and is_temporary(error)
