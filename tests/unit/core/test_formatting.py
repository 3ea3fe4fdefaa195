"""Durations, moments and numbers are short, and claim no more precision than is known."""

from datetime import datetime, timezone

import pytest
from django.utils.timezone import override

from django_partisan.formatting import count, duration_text, moment, number


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"), (0.04, "0.0 s"), (9.94, "9.9 s"), (10, "10 s"), (59.4, "59 s"), (59.6, "1 min"),
        (61, "1 min 1 s"), (3600, "1 h"), (7325, "2 h 2 min"), (86_399, "23 h 59 min"), (86_460, "1 d"),
        (200_000, "2 d 7 h"),
    ],
)  # fmt: skip
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert duration_text(seconds) == text


def test_a_moment_is_local_and_ends_at_the_second():
    aware = datetime(2026, 11, 29, 12, 0, 1, 500_000, tzinfo=timezone.utc)

    with override("Europe/Berlin"):
        assert moment(aware) == "2026-11-29 13:00:01 CET"
    assert moment(aware.replace(tzinfo=None)) == "2026-11-29 12:00:01"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (99_999, "99999"), (100_000, "100k"), (123_456, "123k"), (999_499, "999k"),
        (999_500, "1M"), (12_345_678, "12.3M"), (1_234_567_890, "1.23G"), (2_000_000_000_000, "2000G"),
    ],
)  # fmt: skip
def test_a_number_takes_six_characters_at_most(value, text):
    assert number(value) == text
    assert len(text) <= 6


def test_a_count_agrees_with_its_noun():
    assert (count(1, "run"), count(0, "run"), count(2000, "run")) == ("1 run", "0 runs", "2,000 runs")
