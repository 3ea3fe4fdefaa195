"""Decide which due ticks of a schedule are enqueued and which are missed, and find the next tick."""

from datetime import datetime, timedelta
from typing import Final, NamedTuple

from django_partisan.schedules.definition import ScheduleDefinition

ENQUEUED_AT_MOST: Final = 1000
"""How many ticks ``catch_up="all"`` enqueues at once: the newest; older ones are missed."""
COUNTED_AT_MOST: Final = 1000
"""Missed ticks are counted up to this number."""
SHOWN_AT_MOST: Final = 20
"""How many ticks a row shows at most."""
ON_TIME: Final = timedelta(seconds=60)
"""With ``catch_up="none"`` the newest tick is enqueued if it is less than this late."""
_MOMENT: Final = timedelta(microseconds=1)


class DueTicks(NamedTuple):
    """The ticks that are due, oldest first."""

    enqueued: list[datetime]
    """The ticks to enqueue."""
    missed: list[datetime]
    """The newest of the missed ticks."""
    missed_number: int
    """The number of missed ticks, counted up to ``COUNTED_AT_MOST``."""
    next_at: datetime | None
    """The first tick that is not due yet; ``None`` if there is none."""

    @property
    def newest(self) -> datetime | None:
        """The newest tick that is due; ``None`` if none is."""
        return max([*self.enqueued[-1:], *self.missed[-1:]], default=None)


def due(
    definition: ScheduleDefinition, next_at: datetime, now: datetime, expires_seconds: float | None
) -> DueTicks:
    """Return the due ticks of a schedule whose next tick was at ``next_at``.

    All ticks from ``next_at`` to ``now`` are due. A tick whose task would have expired is missed.
    """
    times, catch_up = definition.times, definition.catch_up
    most = ENQUEUED_AT_MOST if catch_up == "all" else 1
    # One more than is enqueued, so that the newest missed tick is known if there is one.
    number, newest = times.between(next_at - _MOMENT, now, max(most + 1, SHOWN_AT_MOST))
    enqueued = newest[-most:]
    if catch_up == "none" and enqueued and now - enqueued[-1] >= ON_TIME:
        enqueued = []
    if expires_seconds is not None:
        enqueued = [moment for moment in enqueued if (now - moment).total_seconds() < expires_seconds]
    missed = newest[: len(newest) - len(enqueued)]  # the enqueued ticks are always the newest
    missed_number = min(number - len(enqueued), COUNTED_AT_MOST)
    return DueTicks(enqueued, missed, missed_number, times.after(now))
