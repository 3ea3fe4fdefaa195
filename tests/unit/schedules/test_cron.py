# ruff: noqa: DTZ001 - local times have no zone here
"""Cron texts: which are accepted, which local times they name, and what the error messages say."""

from datetime import datetime
from itertools import islice

import pytest

from django_partisan.schedules.cron import FIELDS, CronError, parse

START = datetime(2026, 11, 30, 12, 0)  # a Monday


def following(text: str, number: int = 2) -> list[str]:
    return [f"{wall:%m-%d %H:%M}" for wall in islice(parse(text).after(START), number)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 3 * * *", ["12-01 03:00", "12-02 03:00"]),
        ("*/20 * * * *", ["11-30 12:20", "11-30 12:40"]),
        ("0 0 L * *", ["12-31 00:00", "01-31 00:00"]),
        ("0 0 LW * *", ["12-31 00:00", "01-29 00:00"]),
        ("0 0 * * 5L", ["12-25 00:00", "01-29 00:00"]),
        ("0 0 * * MON#2", ["12-14 00:00", "01-11 00:00"]),
        ("0 0 13 * FRI", ["12-04 00:00", "12-11 00:00"]),
        ("0 0 1 jan,jul sun-mon", ["01-01 00:00", "01-03 00:00"]),
        ("@hourly", ["11-30 13:00", "11-30 14:00"]),
        ("@daily", ["12-01 00:00", "12-02 00:00"]),
        ("@midnight", ["12-01 00:00", "12-02 00:00"]),
        ("@Weekly", ["12-06 00:00", "12-13 00:00"]),
        ("@monthly", ["12-01 00:00", "01-01 00:00"]),
        ("@yearly", ["01-01 00:00", "01-01 00:00"]),
        (" @annually ", ["01-01 00:00", "01-01 00:00"]),
        ("  5   4  *  *  *  ", ["12-01 04:05", "12-02 04:05"]),
    ],
)
def test_a_text_names_local_times(text: str, expected: list[str]):
    assert following(text) == expected


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("60 * * * *", "minute"),
        ("x * * * *", "minute"),
        ("*/0 * * * *", "minute"),
        (f"{'9' * 5000} * * * *", "minute"),
        ("* 24 * * *", "hour"),
        ("* 5-3 * * *", "hour"),
        ("* * 0 * *", "day-of-month"),
        ("* * LWW * *", "day-of-month"),
        ("* * 30 2 *", "day-of-month"),
        ("* * * 13 *", "month"),
        ("* * * JANUARY *", "month"),
        ("* * * * 8", "day-of-week"),
        ("* * * * MON#6", "day-of-week"),
        ("* * * * L", "day-of-week"),
    ],
)
def test_a_refusal_names_the_field_its_value_and_what_is_accepted(text: str, field: str):
    with pytest.raises(CronError) as refusal:
        parse(text)

    assert refusal.value.field == field
    assert refusal.value.value == text.split()[list(FIELDS).index(field)]
    assert f"The {field} field of" in str(refusal.value)
    assert refusal.value.expected in str(refusal.value)


@pytest.mark.parametrize("text", ["", "* * * *", "0 * * * * *", "@reboot", "@every 5m", "daily"])
def test_what_has_not_five_fields_is_refused_as_a_whole(text: str):
    with pytest.raises(ValueError, match="expected five fields") as refusal:
        parse(text)

    assert isinstance(refusal.value, CronError)
    assert refusal.value.field == ""


@pytest.mark.parametrize(
    ("text", "is_fixed"),
    [("0 3 * * *", True), ("0 * * * *", False), ("*/5 3 * * *", False), ("1-9 2-4 * * *", True)],
)
def test_times_are_fixed_if_neither_minute_nor_hour_begins_with_a_star(text: str, is_fixed: bool):
    assert parse(text).is_fixed is is_fixed


def test_the_times_until_a_moment_include_it_and_end_where_years_do():
    cron = parse("0 0 1 1 *")

    assert next(cron.until(datetime(2026, 1, 1, 0, 0, 30))) == datetime(2026, 1, 1)
    assert list(cron.until(datetime(2, 1, 1))) == [datetime(2, 1, 1), datetime(1, 1, 1)]
    assert list(cron.after(datetime(9998, 6, 1))) == [datetime(9999, 1, 1)]
