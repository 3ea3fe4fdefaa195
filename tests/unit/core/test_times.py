"""All commands parse durations and moments in the same way."""

import argparse
from datetime import datetime, timedelta, timezone

import pytest
from django.test import override_settings

from django_partisan.management.times import duration, moment
from django_partisan.moments import LATEST, LONGEST_DELAY_SECONDS

UTC = timezone.utc


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("8s", 8), ("5m", 300), ("2h", 7200), ("7d", 604_800), ("90", 90), ("1.5h", 5400), (" 0 ", 0)],
)
def test_a_duration_is_seconds_or_has_a_unit(text, seconds):
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "5 m", "-5m", "2w", "1e3", "\u0665m", "5m3s", "nan"])
def test_what_is_no_duration_is_refused_by_its_value(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"is not a duration; expected .* such as 8s"):
        duration(text)


def test_a_duration_of_more_than_a_hundred_years_is_refused():
    with pytest.raises(argparse.ArgumentTypeError, match="at most a hundred years"):
        duration(f"{LONGEST_DELAY_SECONDS + 1}")


@override_settings(TIME_ZONE="Europe/Berlin")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-29T18:00", datetime(2026, 11, 29, 17, tzinfo=UTC)),
        ("2026-11-29 18:00:05.25", datetime(2026, 11, 29, 17, 0, 5, 250_000, tzinfo=UTC)),
        ("2026-11-29T18:00:00Z", datetime(2026, 11, 29, 18, tzinfo=UTC)),
        ("2026-11-29T18:00+05:30", datetime(2026, 11, 29, 12, 30, tzinfo=UTC)),
        ("2026-11-29", datetime(2026, 11, 28, 23, tzinfo=UTC)),
        ("9999-12-31T23:59:59-12:00", LATEST),
    ],
)
def test_a_moment_is_iso_8601_and_local_without_an_offset(text, expected):
    assert moment(text) == expected


@override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin")
def test_a_moment_is_naive_and_local_without_time_zones():
    assert moment("2026-11-29T18:00Z") == datetime(2026, 11, 29, 18) + timedelta(hours=1)  # noqa: DTZ001


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "2026-02-30T10:00", "18:00"])
def test_what_is_no_moment_is_refused_by_its_value(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected ISO 8601"):
        moment(text)
