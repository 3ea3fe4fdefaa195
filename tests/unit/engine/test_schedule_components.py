"""What the components of schedules do with answers that no database gives."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.listed_schedules import ListedSchedules
from django_partisan.engine.manager.listing_comparison import Comparison
from django_partisan.engine.manager.open_ticks import OpenTicks
from django_partisan.engine.manager.outage import ClaimOutage, Outage, SharedOutage
from django_partisan.engine.manager.scheduler import RETRY_SECONDS, Scheduler
from django_partisan.engine.manager.tick_results import Batch
from django_partisan.engine.manager.ticks_aside import FORGET_SECONDS, Aside
from django_partisan.sql.leasing import SchedulesSeen
from tests.support.engine import AWAY, FakeDatabaseThread


class Play:
    """A manager whose calls are answered by the test."""

    def __init__(self) -> None:
        self.thread = FakeDatabaseThread()
        self.id: UUID | None = uuid4()
        outage: Outage = ClaimOutage(SharedOutage("default"))
        self.enqueued: list[set[str]] = []
        self.scheduler = Scheduler("default", self.thread, outage, lambda: self.id, self.enqueued.append)
        self.listed = ListedSchedules(self.thread, outage, {}, lambda: self.id, self.scheduler.look_now)
        self.open = OpenTicks(self.thread, outage, lambda: self.id)


@pytest.fixture
def play() -> Play:
    return Play()


def wake(play: Play, name: str, now: float = 1e9) -> Any:
    component = getattr(play, name)
    play.scheduler.look_now()
    play.listed.on_heartbeat(SchedulesSeen(None, True, True, "somebody"))
    play.open.on_heartbeat(True)
    component.turn(now)
    return component


@pytest.mark.parametrize("name", ["listed", "open"])
def test_a_fault_of_our_own_is_raised_and_an_error_of_the_database_is_not(play: Play, name):
    wake(play, name)
    play.thread.answer(AWAY)
    wake(play, name, now=2e9)

    with pytest.raises(ValueError, match="ours"):
        play.thread.answer(ValueError("ours"))


@pytest.mark.parametrize("name", ["scheduler", "listed", "open"])
def test_without_a_lease_nothing_is_asked(play: Play, name):
    play.id = None

    component = wake(play, name)

    assert (play.thread.asked, component.next_at()) == (None, NEVER)


def test_a_manager_that_drains_goes_on_with_ticks_alone(play: Play):
    for name in ("scheduler", "listed", "open"):
        getattr(play, name).stop()

    assert [wake(play, name).next_at() for name in ("listed", "open")] == [NEVER, NEVER]
    wake(play, "scheduler")

    assert play.thread.asked == "make_batch"


def test_halves_are_tried_at_once_and_one_after_the_other(play: Play):
    wake(play, "scheduler")
    play.thread.answer(Batch(halves=[["a", "b"], ["c"]]))

    tried = []
    while play.scheduler.next_at() == 0.0:
        play.scheduler.turn(1e9)
        tried.append(play.thread.call.keywords["names"])
        play.thread.answer(Batch(next_in=None))

    assert tried == [["a", "b"], ["c"]]


def test_schedules_put_aside_are_left_out_for_a_while(play: Play):
    wake(play, "scheduler")
    play.thread.answer(Batch(aside={"nightly"}, next_in=None))

    assert 0 < play.scheduler.next_at() < NEVER
    play.scheduler.turn(play.scheduler.next_at())
    assert play.thread.call.keywords["aside"] == Aside([], {"nightly"}, {})
    play.thread.answer(Batch(aside={"nightly"}, next_in=None))
    play.scheduler.look_now()
    play.scheduler.turn(play.scheduler.next_at())
    assert play.thread.call.keywords["aside"].hidden == []
    play.scheduler.look_now()
    play.thread.answer(Batch(aside={"nightly"}, next_in=None))
    play.scheduler.turn(play.scheduler.next_at() + FORGET_SECONDS)

    assert play.thread.call.keywords["aside"].hidden == []


def test_rows_that_others_lock_are_compared_again_after_a_second(play: Play):
    wake(play, "listed")
    play.thread.answer(Comparison([], is_partial=True))

    assert 0 < play.listed._compare_at < NEVER


def test_due_rows_that_others_lock_are_looked_at_after_a_pause(play: Play):
    wake(play, "scheduler")
    before = play.scheduler._due_at
    play.thread.answer(Batch(next_in=-5.0))

    assert before == NEVER
    assert 0 < play.scheduler._due_at < NEVER
    assert RETRY_SECONDS == 1.0
