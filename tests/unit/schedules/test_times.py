"""When schedules tick: at multiples of an interval, or at local times of a zone."""

from datetime import datetime, timedelta, timezone

import pytest

from django_partisan.schedules import zones
from django_partisan.schedules.cron import parse
from django_partisan.schedules.times import FixedInterval, LocalTimes

UTC = timezone.utc
NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def local(text: str, zone: str = "Europe/Berlin") -> LocalTimes:
    return LocalTimes(parse(text), zones.find(zone))


@pytest.mark.parametrize(
    ("seconds", "moment", "expected"),
    [
        (1, "2026-11-30T12:00:00+00:00", "2026-11-30T12:00:01+00:00"),
        (1, "2026-11-30T12:00:00.999999+00:00", "2026-11-30T12:00:01+00:00"),
        (300, "2026-11-30T13:04:59+01:00", "2026-11-30T12:05:00+00:00"),
        (86_400, "2026-11-30T12:00:00+00:00", "2026-12-01T00:00:00+00:00"),
        (7, "1969-12-31T23:59:58+00:00", "1970-01-01T00:00:00+00:00"),
    ],
)
def test_the_multiples_are_counted_from_1970(seconds: int, moment: str, expected: str):
    assert FixedInterval(seconds).after(at(moment)) == at(expected)


def test_a_month_of_seconds_is_counted_and_its_newest_are_there():
    number, newest = FixedInterval(1).between(NOON - timedelta(days=30), NOON, 3)

    assert number == 30 * 86_400
    assert newest == [NOON - timedelta(seconds=seconds) for seconds in (2, 1, 0)]


@pytest.mark.parametrize("times", [FixedInterval(60), local("* * * * *")])
def test_what_lies_between_excludes_the_first_moment_and_includes_the_last(times):
    minute = timedelta(minutes=1)

    assert times.between(NOON - 2 * minute, NOON, 9) == (2, [NOON - minute, NOON])
    assert times.between(NOON - 2 * minute, NOON, 0) == (2, [])
    assert times.between(NOON, NOON, 9) == (0, [])
    assert times.between(NOON + minute, NOON, 9) == (0, [])


def test_a_month_of_minutes_is_counted_as_far_as_it_has_to_be_and_its_newest_are_there():
    number, newest = local("* * * * *").between(NOON - timedelta(days=30), NOON, 1000)

    assert number >= 2000
    assert newest == [NOON - timedelta(minutes=minutes) for minutes in range(999, -1, -1)]


@pytest.mark.parametrize("times", [FixedInterval(2**31 - 1), local("0 0 29 2 MON#4"), local("0 0 31 12 *")])
def test_where_the_years_end_there_is_no_tick(times):
    assert times.after(datetime(9999, 12, 31, 20, tzinfo=UTC)) is None


def test_a_tick_that_is_too_late_for_python_in_utc_is_none():
    assert local("59 23 31 12 *", "America/New_York").after(datetime(9999, 6, 1, tzinfo=UTC)) is None


def test_where_no_tick_has_been_there_is_none_to_count():
    assert local("0 0 29 2 *", "UTC").between(
        datetime(1, 1, 2, tzinfo=UTC), datetime(3, 1, 1, tzinfo=UTC), 5
    ) == (0, [])


def test_an_interval_of_more_than_fifty_years_may_have_no_next_tick():
    times = FixedInterval(2**31 - 1)  # 68 years

    assert times.after(at("2037-01-01T00:00:00+00:00")) == at("2038-01-19T03:14:07+00:00")
    assert times.after(at("2039-01-01T00:00:00+00:00")) is None


def test_a_day_that_never_comes_within_fifty_years_has_no_tick():
    assert local("0 0 */31 2 1L").after(NOON) is None
    assert local("0 0 */31 2 1L").upcoming(NOON, 3) == []


@pytest.mark.parametrize(
    ("text", "after", "expected"),
    [
        # Clocks go from 2:00 to 3:00: skipped times become one tick at the end of the gap.
        ("30 2 * * *", "2027-03-27T12:00:00+01:00", ["03-28 03:00 +0200", "03-29 02:30 +0200"]),
        ("*/30 2 * * *", "2027-03-27T12:00:00+01:00", ["03-29 02:00 +0200", "03-29 02:30 +0200"]),
        ("0,30 2,3 * * *", "2027-03-28T00:00:00+01:00", ["03-28 03:00 +0200", "03-28 03:30 +0200"]),
        ("0 * * * *", "2027-03-28T00:30:00+01:00", ["03-28 01:00 +0100", "03-28 03:00 +0200"]),
        # Clocks go from 3:00 to 2:00: repeated times tick once, at the first, or at every real minute.
        ("30 2 * * *", "2027-10-30T12:00:00+02:00", ["10-31 02:30 +0200", "11-01 02:30 +0100"]),
        ("30 2 * * *", "2027-10-31T02:30:00+02:00", ["11-01 02:30 +0100"]),
        ("30 * * * *", "2027-10-31T01:30:00+02:00", ["10-31 02:30 +0200", "10-31 02:30 +0100"]),
        ("*/30 2 * * *", "2027-10-31T02:10:00+02:00", ["10-31 02:30 +0200", "10-31 02:00 +0100"]),
        ("*/30 2 * * *", "2027-10-31T02:40:00+02:00", ["10-31 02:00 +0100", "10-31 02:30 +0100"]),
        ("*/30 2 * * *", "2027-10-31T02:10:00+01:00", ["10-31 02:30 +0100", "11-01 02:00 +0100"]),
    ],
)
def test_where_clocks_change(text: str, after: str, expected: list[str]):
    ticks = local(text).upcoming(at(after), len(expected))

    zone = zones.find("Europe/Berlin")
    assert [f"{tick.astimezone(zone):%m-%d %H:%M %z}" for tick in ticks] == expected


def test_no_tick_is_lost_where_clocks_change_by_half_an_hour():
    ticks = local("0 */6 * * *", "Australia/Lord_Howe").upcoming(at("2027-04-03T12:00:00+11:00"), 4)

    zone = zones.find("Australia/Lord_Howe")
    assert [f"{tick.astimezone(zone):%d %H:%M}" for tick in ticks] == [
        "03 18:00",
        "04 00:00",
        "04 06:00",
        "04 12:00",
    ]


def test_a_day_that_a_zone_skipped_ticks_once_when_the_next_begins():
    samoa = local("30 3,4 * * *", "Pacific/Apia")

    assert samoa.upcoming(at("2011-12-29T06:00:00-10:00"), 2) == [
        at("2011-12-31T00:00:00+14:00"),
        at("2011-12-31T03:30:00+14:00"),
    ]


@pytest.mark.parametrize(
    "name", ["Europe/Berlni", "America", "", "../etc/passwd", "/etc", "x" * 5000, "a\0b"]
)
def test_a_zone_that_this_host_does_not_know_is_refused(name: str):
    with pytest.raises(ValueError, match="is not a time zone"):
        zones.find(name)
