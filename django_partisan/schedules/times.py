"""Compute the ticks of a schedule: multiples of an interval, or the local times of a cron expression.

When clocks change, a cron expression with fixed times (neither minute nor hour begins with ``*``) has one
tick for each time: all times that the clock skips share one tick at the end of the gap, and a time that the
clock repeats has its tick at the first occurrence. Any other cron expression ticks at every real minute whose
local time matches.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django_partisan.schedules import zones
from django_partisan.schedules.cron import Cron
from django_partisan.schedules.zones import UTC

COUNTED_MAX: Final = 1000
"""How many ticks are counted in addition to the newest ones; further ones may be left out."""
LONGEST_PAUSE: Final = timedelta(days=366 * 50)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Times(ABC):
    """The times of a schedule's ticks; all moments are in UTC."""

    @abstractmethod
    def after(self, moment: datetime) -> datetime | None:
        """Return the first tick after an aware moment; ``None`` if there is none within 50 years."""

    def upcoming(self, after: datetime, count: int) -> list[datetime]:
        """Return the next ``count`` ticks after a moment, or fewer if there are no more."""
        found: list[datetime] = []
        while len(found) < count and (tick := self.after(found[-1] if found else after)) is not None:
            found.append(tick)
        return found

    @abstractmethod
    def between(self, after: datetime, until: datetime, newest: int) -> tuple[int, list[datetime]]:
        """Return the number of ticks in ``(after, until]``, and the last ``newest`` of them, oldest first.

        The number is exact up to ``newest + COUNTED_MAX``; above that it may be too small.
        """


@dataclass(frozen=True)
class FixedInterval(Times):
    """The multiples of ``seconds``, counted from 1970 in UTC."""

    seconds: int

    def after(self, moment: datetime) -> datetime | None:
        """Return the first multiple after a moment."""
        try:
            found = self._tick(self._number(moment) + 1)
        except OverflowError:
            return None
        return found if found - moment <= LONGEST_PAUSE else None

    def between(self, after: datetime, until: datetime, newest: int) -> tuple[int, list[datetime]]:
        """Return the number of multiples, which is always exact, and the newest of them."""
        first, last = self._number(after) + 1, self._number(until)
        shown = range(max(first, last - newest + 1), last + 1)
        return max(last - first + 1, 0), [self._tick(number) for number in shown]

    def _number(self, moment: datetime) -> int:
        return (moment - _EPOCH) // timedelta(seconds=self.seconds)

    def _tick(self, number: int) -> datetime:
        return _EPOCH + timedelta(seconds=self.seconds * number)


@dataclass(frozen=True)
class LocalTimes(Times):
    """The local times of a cron expression in a time zone."""

    cron: Cron
    zone: ZoneInfo

    def after(self, moment: datetime) -> datetime | None:
        """Return the first tick after a moment."""
        moment = moment.astimezone(UTC)
        local_time = zones.local_time(moment, self.zone)
        # The clock will be set back by this much: the local times of this period will occur again.
        again = timedelta() if local_time.is_second else local_time.repeated
        second: datetime | None = None
        try:
            for time in self.cron.after(local_time.time - again):
                moments = self._moments(time)
                later = [one for one in moments if one > moment]
                if later and later[0] == moments[0]:  # the ticks of all later local times follow it
                    return later[0] if second is None else min(later[0], second)
                if later and second is None:
                    second = later[0]
        except OverflowError:  # after the year 9999
            pass
        return second

    def between(self, after: datetime, until: datetime, newest: int) -> tuple[int, list[datetime]]:
        """Return the number of ticks and the newest of them."""
        after, until = after.astimezone(UTC), until.astimezone(UTC)
        enough = newest + COUNTED_MAX
        local_time = zones.local_time(until, self.zone)
        # The clock was set back by this much: later local times than this one have occurred already.
        before = local_time.repeated if local_time.is_second else timedelta()
        found: set[datetime] = set()
        for time in self.cron.until(local_time.time + before):
            moments = self._moments(time)
            found.update(one for one in moments if after < one <= until)
            is_past = bool(moments) and moments[-1] <= after
            if is_past or (len(found) >= enough and len(moments) == 1):
                break
        ordered = sorted(found)
        return len(ordered), ordered[max(len(ordered) - newest, 0) :]

    def _moments(self, time: datetime) -> list[datetime]:
        """Return the ticks of a local time that the cron expression matches."""
        found = zones.moments_of(time, self.zone)
        if not self.cron.is_fixed:
            return found
        return found[:1] or [zones.end_of_gap(time, self.zone)]
