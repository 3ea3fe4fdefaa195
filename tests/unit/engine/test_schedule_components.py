"""What the components of schedules do with answers that no database gives."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.listed_schedules import ListedSchedules
from django_partisan.engine.manager.open_ticks import OpenTicks
from django_partisan.engine.manager.outage import ClaimOutage, Outage, SharedOutage
from django_partisan.sql.leasing import SchedulesSeen
from tests.support.engine import AWAY, FakeDatabaseThread


class Play:
    """A manager whose calls are answered by the test."""

    def __init__(self) -> None:
        self.thread = FakeDatabaseThread()
        self.id: UUID | None = uuid4()
        outage: Outage = ClaimOutage(SharedOutage("default"))
        self.listed = ListedSchedules(self.thread, outage, {}, lambda: self.id, lambda: None)
        self.open = OpenTicks(self.thread, outage, lambda: self.id)


@pytest.fixture
def play() -> Play:
    return Play()


def wake(play: Play, name: str, now: float = 1e9) -> Any:
    component = getattr(play, name)
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


@pytest.mark.parametrize("name", ["listed", "open"])
def test_without_a_lease_nothing_is_asked(play: Play, name):
    play.id = None

    component = wake(play, name)

    assert (play.thread.asked, component.next_at()) == (None, NEVER)


def test_a_manager_that_drains_does_neither(play: Play):
    for name in ("listed", "open"):
        getattr(play, name).stop()

    assert [wake(play, name).next_at() for name in ("listed", "open")] == [NEVER, NEVER]
    assert play.thread.asked is None
