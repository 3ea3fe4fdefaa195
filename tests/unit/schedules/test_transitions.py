"""Around every clock change, a cron text ticks at the same minutes as a walk through all minutes finds."""

from bisect import bisect_right
from datetime import timedelta
from itertools import pairwise

import pytest

from django_partisan.schedules import zones
from django_partisan.schedules.cron import parse
from django_partisan.schedules.times import LocalTimes
from tests.unit.schedules import oracle

# Cron texts, and the number of hours walked before and after a change.
FAMILIES = (
    ("* * * * *", 1),  # every minute, so that few hours have many ticks
    ("*/15 * * * *", 7),  # steps of minutes
    ("30 * * * *", 7),  # one minute of every hour
    ("0 */6 * * *", 7),  # steps of hours
    ("*/10 0-4 * * *", 7),  # steps within hours
    ("30 2 * * *", 7),  # a fixed time
    ("0-59/5 0-23 * * *", 7),  # fixed times, many of them skipped or repeated
    ("0,15,45 0,1,2,3,12 * * 0", 7),  # fixed times on a day of the week
    ("15 1-3 L * *", 7),  # fixed times on a day of the month
)


# Many small steps make these ten times slower under coverage; test_times.py covers every line.
pytestmark = pytest.mark.no_cover


def test_there_are_as_many_changes_as_expected():
    assert 80 <= len(oracle.transitions()) <= 270


@pytest.mark.slow
@pytest.mark.parametrize(("text", "hours"), FAMILIES)
def test_it_ticks_at_the_minutes_that_a_walk_finds(text: str, hours: int):
    for transition in oracle.transitions():
        times = LocalTimes(parse(text), zones.find(transition.zone))
        minutes = oracle.minutes_around(transition, hours)
        first, last = minutes[0][0], minutes[-1][0]
        expected = oracle.ticks(text, minutes)

        found = times.upcoming(first - timedelta(seconds=1), len(expected) + 1)

        assert [tick for tick in found if tick <= last] == expected, transition
        number, newest = times.between(first - timedelta(seconds=1), last, 2000)
        assert (number, newest[-2000:]) == (len(expected), expected[-2000:]), transition
        assert all(earlier < later for earlier, later in pairwise(expected))


@pytest.mark.slow
@pytest.mark.parametrize(("text", "hours"), FAMILIES)
def test_from_any_moment_the_next_tick_and_those_since_are_right(text: str, hours: int):
    for transition in oracle.transitions():
        times = LocalTimes(parse(text), zones.find(transition.zone))
        minutes = oracle.minutes_around(transition, max(hours, 3))
        expected = oracle.ticks(text, minutes)
        earliest = bisect_right(expected, transition.at - timedelta(hours=3))
        for seconds in range(-9000, 9000, 2011):
            moment = transition.at + timedelta(seconds=seconds, microseconds=seconds)
            place = bisect_right(expected, moment)

            number, newest = times.between(transition.at - timedelta(hours=3), moment, 3)

            if place < len(expected):
                assert times.after(moment) == expected[place], (transition, moment)
            since = expected[earliest:place]
            assert (number, newest) == (len(since), since[-3:]), (transition, moment)
