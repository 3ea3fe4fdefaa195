"""When the promoter looks at the queue, and what is known after a look."""

import time
from typing import Any

import pytest
from django.db import OperationalError

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.outage import PAUSE_SECONDS, ClaimOutage
from django_partisan.engine.manager.promoter import PROMOTE_AT_MOST, SOON_SECONDS, Promoter
from django_partisan.sql.claiming import Ahead
from tests.support.engine import FakeDatabaseThread, config_of

AWAY = OperationalError("the server closed the connection")
NOTHING_DUE = Ahead(0, False, None)


class Play:
    def __init__(self) -> None:
        self.thread = FakeDatabaseThread()
        self.outage = ClaimOutage("default")
        self.promoter = Promoter(config_of(sleep_delay_seconds=60), self.thread, self.outage)

    def looked(self, result: Any = NOTHING_DUE, later: float = 0.0) -> Promoter:
        """Answer the look that is to come next."""
        self.promoter.turn(time.monotonic() + later)
        assert self.thread.call.keywords == {"queue": "default", "limit": PROMOTE_AT_MOST}
        assert self.promoter.next_at() == NEVER
        self.thread.answer(result)
        return self.promoter

    def seconds_to_next(self) -> float:
        return self.promoter.next_at() - time.monotonic()


@pytest.fixture
def play() -> Play:
    return Play()


def test_it_looks_at_once_and_again_after_the_sleep_delay(play):
    promoter = play.looked()

    assert 59 < play.seconds_to_next() <= 60
    promoter.turn(time.monotonic())
    assert play.thread.asked is None
    assert promoter.take_look() == NOTHING_DUE
    assert promoter.take_look() is None


def test_asked_whether_it_has_looked_since_it_looks_again_only_if_no_later_look_is_under_way(play):
    promoter = play.looked()
    ended_at = time.monotonic()

    assert not promoter.has_looked_since(ended_at)
    promoter.turn(time.monotonic())
    assert not promoter.has_looked_since(ended_at)
    play.thread.answer(NOTHING_DUE)

    assert promoter.has_looked_since(ended_at)
    assert play.seconds_to_next() > 59


def test_it_looks_again_when_the_next_scheduled_task_is_due(play):
    promoter = play.looked(Ahead(0, False, 30.0))

    assert promoter.next_due_in == 30.0
    assert 29 < play.seconds_to_next() <= 30


@pytest.mark.parametrize("scheduled", [30.0, None])
def test_a_task_that_is_expected_sooner_brings_the_look_forward(scheduled, play):
    promoter = play.looked(Ahead(0, False, scheduled))

    promoter.expect(10)
    promoter.expect(20)

    assert promoter.next_due_in == 10
    assert 9 < play.seconds_to_next() <= 10


def test_when_more_became_due_than_one_look_makes_ready_it_looks_again_soon(play):
    play.looked(Ahead(PROMOTE_AT_MOST, True, None))

    assert 0 < play.seconds_to_next() <= SOON_SECONDS


def test_a_look_that_is_to_be_repeated_is_though_another_one_is_asked_for(play):
    promoter = play.looked()

    promoter.look_now(repeats=True)
    promoter.look_now()
    play.looked()

    assert 0 < play.seconds_to_next() <= SOON_SECONDS
    play.looked(later=SOON_SECONDS)
    assert play.seconds_to_next() > 59


def test_a_look_that_is_not_answered_is_an_outage_until_the_next(play):
    play.looked(AWAY)

    assert play.outage.is_on
    assert 0 < play.seconds_to_next() <= PAUSE_SECONDS
    play.looked(later=PAUSE_SECONDS)
    assert not play.outage.is_on


def test_a_look_does_not_end_an_outage_of_the_heartbeat(play):
    play.outage.note(AWAY)

    play.looked()

    assert play.outage.is_on


def test_it_is_idle_only_if_nothing_was_due_and_no_look_is_due_or_under_way(play):
    promoter = play.promoter
    assert not promoter.is_idle
    promoter.turn(time.monotonic())
    assert not promoter.is_idle
    play.thread.answer(NOTHING_DUE)
    assert promoter.is_idle
    promoter.look_now()

    assert not play.looked(Ahead(0, True, None)).is_idle


def test_stopped_it_looks_no_more_and_is_idle_after_the_look_under_way(play):
    promoter = play.promoter
    promoter.turn(time.monotonic())
    promoter.stop()
    assert not promoter.is_idle
    play.thread.answer(Ahead(0, True, 1.0))

    promoter.turn(time.monotonic() + 99)

    assert play.thread.asked is None
    assert promoter.is_idle
    assert promoter.next_at() == NEVER
