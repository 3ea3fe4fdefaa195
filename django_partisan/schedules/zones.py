"""Convert between UTC and the local times of a time zone, including repeated and skipped local times."""

from datetime import datetime, timedelta, timezone
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

UTC: Final = timezone.utc
_SECOND: Final = timedelta(seconds=1)


class LocalTime(NamedTuple):
    """The local time at a moment."""

    time: datetime
    """The local time, without a time zone."""
    repeated: timedelta
    """The time between the two moments that have this local time; 0 if there is only one."""
    is_second: bool
    """True at the second of these moments."""


def find(name: str) -> ZoneInfo:
    """Return a time zone by name; raises ``ValueError`` if this host has no such time zone."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:  # OSError: a folder such as "America", or a long name
        raise ValueError(f"{name!r} is not a time zone that this host has.") from error


def local_time(moment: datetime, zone: ZoneInfo) -> LocalTime:
    """Return the local time of a zone at an aware moment."""
    local = moment.astimezone(zone)
    time = local.replace(tzinfo=None, fold=0)
    first, second = _both(time, zone)
    return LocalTime(time, max(second - first, timedelta()), bool(local.fold))


def moments_of(time: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the moments of a local time in UTC: two if it is repeated, none if it is skipped."""
    first, second = _both(time, zone)
    if first > second:
        return []
    return [first] if first == second else [first, second]


def end_of_gap(time: datetime, zone: ZoneInfo) -> datetime:
    """Return the end of the gap in which the clock skips a local time, in UTC."""
    late, early = _both(time, zone)  # by the offset before the gap, and by the offset after it
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
    """Return a local time in UTC, by the offset before and by the offset after a nearby clock change."""
    local = time.replace(tzinfo=zone)
    return local.astimezone(UTC), local.replace(fold=1).astimezone(UTC)
