"""A manager that runs until nothing is left ends by itself, but not while a task may still appear."""

import time

import pytest

from django_partisan.engine.manager.component import Component
from django_partisan.engine.manager.drain import Drain
from django_partisan.engine.manager.queue_pause import QueuePause
from django_partisan.engine.manager.run_until import RunUntil, Until
from django_partisan.sql.claiming import QueueCheck
from tests.support.engine import NOTHING_DUE, PromoterHarness


class Other(Component):
    """A component that is idle when the test says so."""

    is_idle = True


class Harness(PromoterHarness):
    """A real promoter and drain, and two other components: one finds tasks, one holds tasks."""

    def __init__(self, until: Until = Until.IDLE) -> None:
        super().__init__()
        self.drain = Drain(None, begun=lambda: None)
        self.pause = QueuePause()
        self.finder, self.holder = Other(), Other()
        finders = [self.promoter, self.finder]
        self.run_until = RunUntil(until, self.drain, self.promoter, self.pause, finders, [self.holder])

    def turn(self, check: QueueCheck | None = None) -> bool:
        """Answer the pending check, and turn; return whether the manager should end."""
        if check is not None:
            self.chores.answer(check)
        now = time.monotonic()
        self.promoter.turn(now)
        self.run_until.turn(now)
        return self.drain.is_on


def test_it_ends_once_a_look_found_nothing_and_all_are_idle():
    harness = Harness()
    harness.finder.is_idle = False
    assert not harness.turn()
    assert not harness.turn(NOTHING_DUE)
    harness.finder.is_idle = True

    assert harness.turn()
    assert harness.turn()
    assert not harness.drain.is_forced


def test_a_look_that_began_before_the_last_task_ended_does_not_count():
    harness = Harness()
    harness.turn()
    harness.holder.is_idle = False
    harness.turn()
    harness.holder.is_idle = True

    assert not harness.turn(NOTHING_DUE)
    assert not harness.turn()
    assert harness.turn(NOTHING_DUE)


@pytest.mark.parametrize(("until", "ends"), [(Until.IDLE, True), (Until.EMPTY, False)])
def test_a_task_that_is_scheduled_holds_up_the_end_only_until_empty(until: Until, ends: bool):
    harness = Harness(until)
    harness.turn()

    assert harness.turn(QueueCheck(0, False, 3600.0)) == ends


def test_a_task_that_is_due_holds_up_the_end():
    harness = Harness()
    harness.turn()

    assert not harness.turn(QueueCheck(0, True, None))


@pytest.mark.parametrize("until", list(Until))
def test_a_pause_ends_it_when_nothing_runs_whatever_waits(until: Until):
    harness = Harness(until)
    harness.pause.begin()
    harness.holder.is_idle = False
    assert not harness.turn()
    assert not harness.turn(QueueCheck(0, True, 3600.0))
    harness.holder.is_idle, harness.finder.is_idle = True, False
    assert not harness.turn()
    harness.finder.is_idle = True

    assert harness.turn()
