"""When the promoter looks at the queue, and what it knows after a look."""

import time

import pytest

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.promoter import PROMOTE_AT_MOST, SOON_SECONDS
from django_partisan.sql.claiming import QueueCheck
from tests.support.engine import AWAY, CANCELLED, NOTHING_DUE, PromoterHarness


@pytest.fixture
def harness() -> PromoterHarness:
    return PromoterHarness(sleep_delay_seconds=60)


def test_it_looks_at_once_and_again_after_the_sleep_delay(harness):
    harness.answers_check()

    assert 59 < harness.seconds_to_check() <= 60
    harness.promoter.turn(time.monotonic())
    assert harness.chores.pending_call is None
    assert harness.promoter.take_check() == NOTHING_DUE
    assert harness.promoter.take_check() is None


def test_asked_whether_it_has_looked_since_it_looks_again_only_if_no_later_look_is_under_way(harness):
    harness.answers_check()
    ended_at = time.monotonic()

    assert not harness.promoter.has_checked_since(ended_at)
    harness.promoter.turn(time.monotonic())
    assert not harness.promoter.has_checked_since(ended_at)
    harness.chores.answer(NOTHING_DUE)

    assert harness.promoter.has_checked_since(ended_at)
    assert harness.seconds_to_check() > 59


def test_it_looks_again_when_the_next_scheduled_task_is_due(harness):
    harness.answers_check(QueueCheck(0, False, 30.0))

    assert harness.promoter.next_due_in == 30.0
    assert 29 < harness.seconds_to_check() <= 30


@pytest.mark.parametrize("scheduled", [30.0, None])
def test_a_task_that_is_expected_sooner_brings_the_look_forward(scheduled, harness):
    harness.answers_check(QueueCheck(0, False, scheduled))

    harness.promoter.expect(10)
    harness.promoter.expect(20)

    assert harness.promoter.next_due_in == 10
    assert 9 < harness.seconds_to_check() <= 10


def test_when_more_became_due_than_one_look_makes_ready_it_looks_again_soon(harness):
    harness.answers_check(QueueCheck(PROMOTE_AT_MOST, True, None))

    assert 0 < harness.seconds_to_check() <= SOON_SECONDS


def test_a_look_that_is_to_be_repeated_is_though_another_one_is_asked_for(harness):
    harness.answers_check()

    harness.promoter.check_now(repeats=True)
    harness.promoter.check_now()
    harness.answers_check()

    assert 0 < harness.seconds_to_check() <= SOON_SECONDS
    harness.answers_check(later=SOON_SECONDS)
    assert harness.seconds_to_check() > 59


def test_a_look_that_is_not_answered_is_an_outage_until_the_next_which_is_not_early(harness):
    harness.answers_check(AWAY)

    assert harness.outage.is_on
    assert (
        59 < harness.seconds_to_check() <= 60
    )  # otherwise failing checks and successful claims would alternate
    harness.answers_check(later=60)
    assert not harness.outage.is_on


def test_what_a_look_promoted_is_not_lost_if_another_returns_before_it_is_taken(harness):
    harness.answers_check(QueueCheck(2, True, None))
    harness.promoter.check_now()

    harness.answers_check(QueueCheck(0, True, None))

    assert harness.promoter.take_check() == QueueCheck(2, True, None)


def test_a_look_does_not_end_an_outage_of_the_heartbeat(harness):
    harness.outage.note(AWAY)

    harness.answers_check()

    assert harness.outage.is_on


def test_it_is_idle_only_if_nothing_was_due_and_no_look_is_due_or_under_way(harness):
    assert not harness.promoter.is_idle
    harness.promoter.turn(time.monotonic())
    assert not harness.promoter.is_idle
    harness.chores.answer(NOTHING_DUE)
    assert harness.promoter.is_idle
    harness.promoter.check_now()

    harness.answers_check(QueueCheck(0, True, None))

    assert not harness.promoter.is_idle


def test_stopped_it_looks_no_more_and_is_idle_after_the_look_under_way(harness):
    harness.promoter.turn(time.monotonic())
    harness.promoter.stop()
    assert not harness.promoter.is_idle
    harness.chores.answer(QueueCheck(0, True, 1.0))

    harness.promoter.turn(time.monotonic() + 99)

    assert harness.chores.pending_call is None
    assert harness.promoter.is_idle
    assert harness.promoter.next_at() == NEVER


def test_a_look_that_the_server_cancels_early_is_halved_and_no_outage(harness):
    harness.promoter.turn(time.monotonic())
    harness.chores.answer(CANCELLED)
    assert not harness.outage.is_on

    harness.promoter.turn(time.monotonic())

    assert harness.chores.call.keywords["limit"] == PROMOTE_AT_MOST // 2
