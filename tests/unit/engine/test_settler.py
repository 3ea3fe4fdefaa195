"""Group commit: outcomes gather while a write is under way, and none is lost to an outage."""

import time
from functools import partial
from typing import Any

import pytest
from django.db import OperationalError

from django_partisan.engine.manager import settler as settling
from django_partisan.engine.manager.settler import Batch, Settler
from django_partisan.engine.settling import Written
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.settling import STATUS_ERROR, STATUS_IN_PROCESS, STATUS_NEW, RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    DatabaseRestored,
    ErrorInfo,
    OutcomesSettled,
    SettleErrored,
    SettleFailed,
    TaskClaimLost,
    TaskFailed,
    TasksReleased,
)
from tests.support.engine import FakeDatabaseThread as LineByHand
from tests.support.engine import config_of
from tests.support.rows import task_row as task

AWAY = OperationalError("the server closed the connection")
ALL_WRITTEN: tuple[Written, list[int]] = Written([], []), []


class Side:
    """A settler, its line, and what it said about tasks that wait again."""

    def __init__(self) -> None:
        self.line = LineByHand()
        self.requeued: list[float] = []
        self.settler = Settler(config_of(), self.line, self.requeued.append)

    def turn(self, later: float = 0.0) -> Batch | None:
        """Turn once, ``later`` seconds from now; return the batch that is being written then."""
        self.settler.turn(time.monotonic() + later)
        batch: Batch | None = self.line.call.keywords["batch"] if self.line.calls else None
        return batch

    def write(self, result: Any = ALL_WRITTEN, later: float = 0.0) -> Batch:
        """Answer the write that is to come next; return its batch."""
        batch = self.turn(later)
        assert batch is not None
        self.line.answer(result)
        return batch


def outcome(row: TaskRow, status: str = STATUS_NEW, **more: Any) -> RowChange:
    return RowChange(row[ID], row[TOKEN], status, **more)


@pytest.fixture
def side() -> Side:
    return Side()


def test_one_outcome_is_written_at_once_and_nothing_when_there_is_none(side):
    assert side.turn() is None
    side.settler.complete([task(1)])

    assert side.turn() == Batch([task(1)], [], [])


def test_what_gathers_during_a_write_goes_into_the_next_together(side):
    side.settler.complete([task(1)])
    side.turn()
    side.settler.complete([task(2)])
    side.settler.complete([task(3)])
    side.settler.release([task(4)], "stopped")
    side.settler.settle(task(5), outcome(task(5)))
    assert side.turn() == Batch([task(1)], [], [])
    assert side.settler.unsettled == 5
    side.line.answer(ALL_WRITTEN)

    batch = side.turn()
    assert batch == Batch([task(2), task(3)], [(task(5), outcome(task(5)))], [task(4)])
    assert side.settler.unsettled == len(batch) == 4
    assert sorted(side.settler.ids()) == [2, 3, 4, 5]


def test_a_batch_has_an_upper_size(side, monkeypatch):
    monkeypatch.setattr(settling, "BATCH_AT_MOST", 2)
    side.settler.complete([task(1), task(2), task(3)])
    assert side.write().completed == [task(1), task(2)]
    for number in (4, 5, 6):
        side.settler.settle(task(number), outcome(task(number)))

    assert [row[ID] for row, _ in side.write().changes] == [4, 5]
    assert side.write() == Batch([task(3)], [(task(6), outcome(task(6)))], [])
    assert side.settler.unsettled == 0
    assert side.settler.ids() == []


def test_two_outcomes_of_one_task_are_written_one_after_the_other_and_its_completion_last(side):
    crash = outcome(task(1), STATUS_IN_PROCESS, crashes=1)
    side.settler.settle(task(1), crash)
    side.settler.settle(task(1), crash)
    side.settler.complete([task(1)])
    side.settler.release([task(2)], "stopped")

    assert side.write() == Batch([], [(task(1), crash)], [])
    assert side.write() == Batch([task(1)], [(task(1), crash)], [task(2)])


def test_a_failed_write_is_tried_again_as_it_was_and_says_that_a_part_may_be_written(side, heard):
    side.settler.complete([task(1)])
    assert not side.write(AWAY).again
    side.settler.complete([task(2)])

    assert side.turn() is None
    assert 0 < side.settler.next_at() - time.monotonic() <= 0.25
    assert side.write(AWAY, later=1) == Batch([task(1)], [], [], again=True)
    assert side.write(later=10) == Batch([task(1)], [], [], again=True)
    assert side.write() == Batch([task(2)], [], [])


def test_an_outage_is_told_once_and_its_end_with_the_number_of_failures(side, heard):
    side.settler.complete([task(1), task(2)])
    side.write(AWAY)
    side.write(AWAY, later=10)
    reachable = side.settler.reachable
    side.write(later=10)

    assert (reachable, side.settler.reachable) == (False, True)
    assert len(heard.of(SettleErrored)) == 2
    [failed] = heard.of(SettleFailed)
    assert (failed.number, failed.error.message) == (2, str(AWAY))
    [restored] = heard.of(DatabaseRestored)
    assert restored.failures == 2
    assert side.settler.next_at() == float("inf")


def test_while_a_write_is_under_way_there_is_no_next_moment(side):
    side.settler.complete([task(1)])
    side.write(AWAY)
    side.turn(later=10)

    assert side.settler.next_at() == float("inf")


def test_that_tasks_wait_again_is_said_once_it_is_written_with_the_shortest_delay(side):
    for number, delay in ((1, 30.0), (2, 10.0)):
        side.settler.settle(task(number), outcome(task(number), delay=delay))
    side.settler.settle(task(3), outcome(task(3), STATUS_ERROR))
    side.turn()
    assert side.requeued == []
    side.line.answer(ALL_WRITTEN)

    assert side.requeued == [10.0]


def test_tasks_that_failed_for_good_are_counted(side):
    side.settler.settle(task(1), outcome(task(1), STATUS_ERROR))
    side.settler.settle(task(2), outcome(task(2)))

    assert side.settler.failed == 1


def test_a_batch_is_told_with_the_contexts_and_ids_of_its_tasks(side, heard):
    before = time.time()
    side.settler.complete([task(1, context='{"a":"b"}'), task(2)])
    side.settler.settle(task(3, context='{"c":"d"}'), outcome(task(3)))
    side.write()

    [settled] = heard.of(OutcomesSettled)
    assert (settled.number, settled.task_ids) == (3, (1, 2, 3))
    assert settled.contexts == ('{"a":"b"}', '{"c":"d"}')
    assert 0 <= settled.seconds < 60
    assert before <= side.settler.last_finished_at <= time.time()


def test_a_batch_is_not_described_where_nobody_wants_it(side, monkeypatch):
    monkeypatch.setattr(bus, "wanted", lambda kind: False)
    monkeypatch.setattr(bus, "emit", lambda *_: pytest.fail("told"))
    side.settler.complete([task(1)])
    side.write()

    assert side.settler.last_finished_at is not None


def test_tasks_that_were_given_back_are_counted_and_told_and_are_no_outcome(side, heard):
    side.settler.release([task(1), task(2)], "stopped")
    side.write((Written([], []), [2]))

    assert side.settler.released == 1
    assert heard.of(TasksReleased) == [TasksReleased("default", 1, "stopped")]
    assert side.settler.last_finished_at is None


def test_outcomes_whose_claim_was_lost_and_those_refused_are_told_of_the_task(side, heard):
    refusal = ErrorInfo("Unsettleable", "no", "")
    side.settler.complete([task(1), task(2)])
    side.settler.settle(task(3), outcome(task(3)))
    side.write((Written([1], [(3, refusal)]), []))

    assert [event.task.id for event in heard.of(TaskClaimLost)] == [1]
    [failed] = heard.of(TaskFailed)
    assert (failed.run.id, failed.seconds, failed.reason, failed.error) == (3, None, "unsettleable", refusal)
    assert side.settler.failed == 1


@pytest.mark.parametrize("delete", [True, False])
def test_outcomes_are_written_before_tasks_are_given_back(delete, monkeypatch):
    written: list[tuple[Any, ...]] = []

    def write(word: str, *values: Any) -> str:
        written.append(values)
        return word

    monkeypatch.setattr(settling, "write_outcomes", partial(write, "outcomes"))
    monkeypatch.setattr(settling, "write_releases", partial(write, "releases"))
    line = LineByHand()
    settler = Settler(config_of(delete_tasks_on_complete=delete), line, lambda seconds: None)
    settler.complete([task(1, token=8)])
    settler.settle(task(2, token=8), outcome(task(2, token=8)))
    settler.release([task(3, token=9)], "stopped")
    settler.turn(time.monotonic())

    assert line.call("connection") == ("outcomes", "releases")
    assert written == [
        ("connection", [(1, 8)], [outcome(task(2, token=8))], delete, False),
        ("connection", [(3, 9)]),
    ]
