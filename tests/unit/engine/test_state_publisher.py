"""When a manager publishes what its workers run, and what it publishes."""

import json
import time
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.outage import ClaimOutage, SharedOutage
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.state_publisher import CHECK_SECONDS, PUBLISH_SECONDS, StatePublisher
from django_partisan.engine.pages import Page
from django_partisan.engine.presence import PresenceFile
from tests.support.engine import AWAY, FakeDatabaseThread, config_of
from tests.support.rows import task_row


class Harness:
    """A manager with workers; the test writes their pages, sets the clock and answers the calls."""

    def __init__(self) -> None:
        self.thread = FakeDatabaseThread()
        self.outage = ClaimOutage(SharedOutage("default"))
        self.workers: list[Any] = []
        self.pages: dict[int, Page] = {}
        self.id: UUID | None = uuid4()
        self.now = time.monotonic()
        self.component = StatePublisher(
            config_of(workers_count=3),
            self.thread,
            self.outage,
            cast(Pool, self),
            cast(PresenceFile, SimpleNamespace(page=lambda slot: self.pages[slot])),
            lambda: {"buffered": 5},
            lambda: self.id,
        )

    @property
    def is_idle(self) -> bool:
        return not any(worker.held for worker in self.workers)

    def runs(self, task_id: int, seconds: float) -> None:
        """Let one more worker run a task, and hold another one."""
        slot = len(self.workers)
        held = {task_id: task_row(task_id), 1000 + task_id: task_row(1000 + task_id, "Next")}
        self.workers.append(SimpleNamespace(slot=slot, pid=4000 + slot, held=held))
        self.pages[slot] = Page(1, task_id, self.now - seconds, 0.0)

    def turns(self, later: float = 0.0) -> str | None:
        """Turn, ``later`` seconds after the last turn; return the name of the pending call."""
        self.now += later
        self.component.turn(self.now)
        return self.thread.pending_call

    def state(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.component.state())
        return found


@pytest.fixture
def harness() -> Harness:
    return Harness()


def test_the_state_has_runs_and_totals(harness):
    harness.runs(7, seconds=0.5)
    harness.runs(8, seconds=20)
    harness.workers.append(SimpleNamespace(slot=2, pid=4002, held={}))

    state = harness.state()

    assert [(run["task"], run["processor"], run["pid"], run["worker"]) for run in state["runs"]] == [
        (8, "Letter", 4001, 1),
        (7, "Letter", 4000, 0),
    ]
    assert 20 <= state["runs"][0]["seconds"] < 30
    assert state["totals"] == {"workers_configured": 3, "workers": 3, "busy": 2, "buffered": 5}
    assert (state["v"], state["draining"]) == (1, False)


def test_a_worker_that_has_begun_nothing_of_what_it_holds_runs_nothing(harness):
    harness.runs(7, seconds=5)
    harness.pages[0] = Page(1, 0, harness.now, 0.0)

    assert harness.state()["runs"] == []
    assert harness.turns(later=PUBLISH_SECONDS) is None


def test_a_long_run_is_published_every_two_seconds_while_it_lasts(harness):
    harness.runs(7, seconds=1.5)

    assert harness.turns() == "publish"
    assert harness.thread.call.keywords["manager"] == harness.id
    assert json.loads(harness.thread.call.keywords["state"])["runs"][0]["task"] == 7
    harness.thread.answer(None)
    assert harness.turns(later=CHECK_SECONDS) is None
    assert harness.turns(later=PUBLISH_SECONDS) == "publish"
    harness.thread.answer(None)
    harness.workers.clear()
    assert harness.turns(later=PUBLISH_SECONDS) is None


def test_short_runs_cost_no_statement(harness):
    harness.runs(7, seconds=0.9)

    assert harness.turns(later=0.05) is None
    assert harness.turns(later=CHECK_SECONDS / 2) is None


def test_what_a_heartbeat_has_published_is_not_published_again_at_once(harness):
    harness.runs(7, seconds=5)
    harness.component.state()

    assert harness.turns(later=PUBLISH_SECONDS / 2) is None
    assert harness.turns(later=PUBLISH_SECONDS) == "publish"


def test_nothing_is_published_while_the_thread_is_busy_or_the_row_is_in_doubt(harness):
    harness.runs(7, seconds=5)
    identity, harness.id = harness.id, None
    assert harness.turns() is None

    harness.id = identity
    harness.thread.submit(lambda connection: None, lambda result: None)
    assert harness.turns(later=CHECK_SECONDS) != "publish"
    harness.thread.answer(None)
    assert harness.turns(later=CHECK_SECONDS) == "publish"


def test_an_outage_is_waited_for(harness):
    harness.runs(7, seconds=5)
    harness.outage.fail(AWAY)
    harness.outage.fail(AWAY)

    assert harness.outage.retry_at > harness.now
    assert harness.turns() is None


def test_a_lost_answer_is_left_to_the_next_heartbeat_and_a_fault_of_ours_is_not_hidden(harness):
    harness.runs(7, seconds=5)
    assert harness.turns() == "publish"
    harness.thread.answer(AWAY)
    assert harness.turns(later=PUBLISH_SECONDS + CHECK_SECONDS) == "publish"

    with pytest.raises(ZeroDivisionError):
        harness.thread.answer(ZeroDivisionError())


def test_the_loop_is_woken_for_a_look_only_while_workers_hold_tasks(harness):
    assert harness.component.next_at() == NEVER
    harness.turns()
    assert harness.component.next_at() == NEVER

    harness.runs(7, seconds=0)
    harness.turns(later=CHECK_SECONDS)

    assert harness.component.next_at() == pytest.approx(harness.now + CHECK_SECONDS)


def test_a_manager_that_stops_says_so_and_still_shows_what_it_waits_for(harness):
    harness.runs(7, seconds=5)

    harness.component.stop()

    assert harness.state()["draining"]
    assert harness.turns(later=PUBLISH_SECONDS + CHECK_SECONDS) == "publish"
