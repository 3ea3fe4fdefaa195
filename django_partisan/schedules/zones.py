"""Time zones: the moments at which a clock shows a local time, and the end of the times it skips."""

from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

UTC: Final = timezone.utc
_SECOND: Final = timedelta(seconds=1)


class Wall(NamedTuple):
    """What a clock shows at a moment."""

    time: datetime
    """Without a zone."""
    repeated: timedelta
    """Between the two moments at which the clock shows this time; 0 if there is only one."""
    is_second: bool
    """True at the second of the two."""


def find(name: str) -> ZoneInfo:
    """Return a time zone; raise ``ValueError`` if this host knows none of this name."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # OSError: a folder such as "America", a name too long
        raise ValueError(f"{name!r} is no time zone that this host knows.") from error


def wall(moment: datetime, zone: ZoneInfo) -> Wall:
    """Return what the clock of a zone shows at an aware moment."""
    local = moment.astimezone(zone)
    time = local.replace(tzinfo=None, fold=0)
    first, second = _both(time, zone)
    return Wall(time, max(second - first, timedelta()), bool(local.fold))


def moments_of(time: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return when a clock shows a local time, in UTC: twice if it is repeated, never if it is skipped."""
    first, second = _both(time, zone)
    if first > second:
        return []
    return [first] if first == second else [first, second]


def end_of_gap(time: datetime, zone: ZoneInfo) -> datetime:
    """Return when the clock skips a local time that it never shows: the end of the gap, in UTC."""
    late, early = _both(time, zone)  # by the offset before the gap, and by the one after it
    offset = late.astimezone(zone).utcoffset()
    while late - early > _SECOND:
        middle = early + (late - early) // 2
        middle = middle.replace(microsecond=0)
        if middle.astimezone(zone).utcoffset() == offset:
            late = middle
        else:
            early = middle
    return late


def _both(time: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return a local time in UTC, by the offset before and by the one after a change of clocks near it."""
    local = time.replace(tzinfo=zone)
    return local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)
