"""Find the real minutes that a cron text names by testing every minute; shares no code with the library."""

import calendar
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from functools import cache
from typing import NamedTuple
from zoneinfo import ZoneInfo, available_timezones

UTC = timezone.utc
MINUTE = timedelta(minutes=1)
WEEK = timedelta(weeks=1)
FIRST = datetime(2027, 1, 1, tzinfo=UTC)
LAST = datetime(2029, 1, 1, tzinfo=UTC)
BOUNDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


class Transition(NamedTuple):
    """A clock change in a zone; ``at`` is the first minute after it."""

    at: datetime
    zone: str
    before: timedelta
    after: timedelta


@cache
def transitions() -> list[Transition]:
    """Return one zone for each distinct clock change of 2027 and 2028."""
    found: dict[tuple[datetime, timedelta, timedelta], Transition] = {}
    weeks = [FIRST + number * WEEK for number in range((LAST - FIRST) // WEEK + 1)]
    for name in sorted(available_timezones()):
        zone = ZoneInfo(name)
        offsets = [offset_at(week, zone) for week in weeks]
        for place in range(1, len(weeks)):
            if offsets[place] != offsets[place - 1]:
                one = _within(weeks[place - 1], weeks[place], name)
                found.setdefault((one.at, one.before, one.after), one)
    return sorted(found.values())


def _within(start: datetime, end: datetime, name: str) -> Transition:
    zone = ZoneInfo(name)
    before, after = offset_at(start, zone), offset_at(end, zone)
    while end - start > MINUTE:
        middle = start + (end - start) // MINUTE // 2 * MINUTE
        if offset_at(middle, zone) == before:
            start = middle
        else:
            end = middle
    return Transition(end, name, before, after)


def offset_at(moment: datetime, zone: ZoneInfo) -> timedelta:
    offset = moment.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


@cache
def minutes_around(transition: Transition, hours: int) -> list[tuple[datetime, datetime]]:
    """Return each real minute of ``hours`` before and after a change, with the local time shown."""
    zone = ZoneInfo(transition.zone)
    start = transition.at - timedelta(hours=hours)
    count = 2 * hours * 60
    minutes = [start + number * MINUTE for number in range(count)]
    return [(minute, minute.astimezone(zone).replace(tzinfo=None, fold=0)) for minute in minutes]


def ticks(text: str, minutes: Sequence[tuple[datetime, datetime]]) -> list[datetime]:
    """Return the minutes at which a cron text ticks."""
    named = matcher(text)
    minute_field, hour_field = text.split()[:2]
    if minute_field.startswith("*") or hour_field.startswith("*"):
        return [minute for minute, shown in minutes if named(shown)]
    found = []
    seen: set[datetime] = set()
    expected = minutes[0][1]
    for minute, shown in minutes:
        skipped = [expected + number * MINUTE for number in range(max((shown - expected) // MINUTE, 0))]
        if any(named(one) for one in skipped) or (named(shown) and shown not in seen):
            found.append(minute)
        seen.add(shown)
        expected = shown + MINUTE
    return found


def matcher(text: str):
    """Return a function that returns whether a cron text names a local time."""
    fields = text.split()
    minutes, hours, _, months, _ = (
        numbers(field, *bounds) if place not in (2, 4) else set()
        for place, (field, bounds) in enumerate(zip(fields, BOUNDS, strict=True))
    )

    @cache
    def is_day(day: date) -> bool:
        last = calendar.monthrange(day.year, day.month)[1]
        by_day = day.day == last if fields[2] == "L" else day.day in numbers(fields[2], *BOUNDS[2])
        by_week = day.isoweekday() % 7 in {number % 7 for number in numbers(fields[4], *BOUNDS[4])}
        if "*" in (fields[2][0], fields[4][0]):
            return by_day and by_week
        return by_day or by_week

    def named(shown: datetime) -> bool:
        return (
            shown.minute in minutes and shown.hour in hours and shown.month in months and is_day(shown.date())
        )

    return named


def numbers(field: str, least: int, most: int) -> set[int]:
    """Return the numbers that a field names."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if span == "*":
            first, last = str(least), str(most)
        found.update(range(int(first), int(last or (most if step else first)) + 1, int(step or 1)))
    return found
