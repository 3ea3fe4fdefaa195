"""Which ticks are due, and which of them are enqueued or missed."""

from datetime import timedelta

import pytest

from django_partisan.schedules.due import due
from tests.support.schedules import NOON, defined

HOUR = timedelta(hours=1)


def test_a_tick_is_due_at_its_moment_and_not_a_microsecond_before():
    early = due(defined(), NOON, NOON - timedelta(microseconds=1), None)
    found = due(defined(), NOON, NOON, None)

    assert (early.enqueued, early.missed_number, early.newest, early.next_at) == ([], 0, None, NOON)
    assert (found.enqueued, found.missed_number, found.newest, found.next_at) == (
        [NOON],
        0,
        NOON,
        NOON + HOUR,
    )


def test_of_several_due_ticks_the_newest_is_enqueued_and_the_others_are_missed():
    found = due(defined(), NOON - 3 * HOUR, NOON + timedelta(minutes=59), None)

    assert found.enqueued == [NOON]
    assert found.missed == [NOON - 3 * HOUR, NOON - 2 * HOUR, NOON - HOUR]
    assert (found.missed_number, found.newest) == (3, NOON)


@pytest.mark.parametrize(("late", "is_enqueued"), [(59.9, True), (60.0, False), (3000.0, False)])
def test_without_catching_up_a_tick_is_enqueued_less_than_a_minute_late(late, is_enqueued):
    found = due(defined(catch_up="none"), NOON, NOON + timedelta(seconds=late), None)

    assert found.enqueued == [NOON] * is_enqueued
    assert found.missed_number == (not is_enqueued)
    assert found.newest == NOON


def test_with_catching_up_all_due_ticks_are_enqueued_oldest_first():
    found = due(defined(catch_up="all"), NOON - 3 * HOUR, NOON, None)

    assert found.enqueued == [NOON - 3 * HOUR, NOON - 2 * HOUR, NOON - HOUR, NOON]
    assert found.missed_number == 0


def test_at_most_1000_ticks_are_enqueued_and_counted_as_missed():
    definition = defined(every=1, catch_up="all")

    some = due(definition, NOON - timedelta(seconds=1009), NOON, None)
    many = due(definition, NOON - timedelta(days=30), NOON, None)

    assert (len(some.enqueued), some.missed_number) == (1000, 10)
    assert (some.missed[-1], some.enqueued[-1]) == (NOON - timedelta(seconds=1000), NOON)
    assert (len(many.enqueued), many.missed_number) == (1000, 1000)


@pytest.mark.parametrize(("seconds", "enqueued"), [(3600.0, 1), (3600.1, 2), (1.0, 1)])
def test_a_tick_whose_task_would_have_expired_is_missed(seconds, enqueued):
    found = due(defined(catch_up="all"), NOON - 2 * HOUR, NOON, seconds)

    assert len(found.enqueued) == enqueued
    assert found.missed_number == 3 - enqueued


def test_the_newest_tick_may_have_expired_too():
    found = due(defined(), NOON, NOON + timedelta(seconds=2), 1.0)

    assert (found.enqueued, found.missed, found.missed_number, found.newest) == ([], [NOON], 1, NOON)


def test_a_moment_that_is_no_tick_any_more_is_none():
    found = due(defined(), NOON + timedelta(seconds=1), NOON + timedelta(minutes=1), None)

    assert (found.enqueued, found.missed_number, found.next_at) == ([], 0, NOON + HOUR)
