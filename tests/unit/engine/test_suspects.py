"""Tasks that may have ended their host run alone, after a mark in their row says that they begin."""

import time

import pytest

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.suspects import LOCKED_SECONDS
from django_partisan.sql.claiming import ID, TaskRow
from django_partisan.telemetry.events.tasks import TaskClaimLost
from tests.support.engine import AWAY, IntakeHarness, error_with, report
from tests.support.events import RecordedEvents
from tests.support.rows import task_row


def suspect(task_id: int, crashes: int = 0) -> TaskRow:
    return task_row(task_id, crashes=crashes, takeovers=1, token=100 + task_id)


def marks(engine: IntakeHarness, task_id: int, result: object = True) -> list[list[int]]:
    """Answer the next call, which marks a task; return the ids that each worker then gets."""
    engine.suspects.turn(time.monotonic())
    assert engine.chores.pending_call == "mark_begun"
    assert engine.chores.call.keywords == {"task_id": task_id, "token": 100 + task_id}
    engine.chores.answer(result)
    return engine.dispatched()


def ends(engine: IntakeHarness, slot: int, task_id: int) -> None:
    engine.workers[slot].sends(report([task_id]))
    engine.turn()


def test_a_suspect_is_dispatched_when_its_mark_is_written_and_not_before(engine: IntakeHarness):
    engine.dispatcher.take([suspect(1)])
    assert engine.dispatched() == [[], []]
    assert not engine.dispatcher.is_idle
    assert engine.intake.all_ids([]) == [1]

    assert marks(engine, 1) == [[1], []]

    assert engine.dispatcher.is_idle
    assert engine.suspects.next_at() == NEVER


def test_its_worker_gets_nothing_else_meanwhile(engine: IntakeHarness):
    engine.intake.run_times.record("Letter", 100, 0.001)
    engine.dispatcher.take([suspect(1), task_row(2), task_row(3), task_row(4)])

    assert marks(engine, 1) == [[1], [2, 3, 4]]

    engine.dispatcher.take([task_row(5)])
    assert engine.dispatched()[0] == []
    ends(engine, 0, 1)
    engine.dispatcher.take([task_row(6)])
    assert engine.dispatched()[0] != []


def test_suspects_run_in_running_order_and_not_before_all_others(engine: IntakeHarness):
    for slot in (0, 1):
        engine.dispatch_to(slot, task_row(10 + slot))
    engine.dispatcher.take([task_row(1), suspect(2), task_row(3)])
    engine.suspects.turn(time.monotonic())
    assert engine.chores.pending_call is None, "no worker holds nothing"
    assert engine.dispatched() == [[10], [11]]
    ends(engine, 0, 10)
    assert engine.dispatched()[0] == [1]
    ends(engine, 0, 1)

    assert marks(engine, 2)[0] == [2]
    ends(engine, 1, 11)
    assert engine.dispatched()[1] == [3]


def test_rescued_tasks_whose_past_is_known_run_before_suspects(engine: IntakeHarness):
    engine.intake.buffer.add_rescued([task_row(9)])
    engine.dispatcher.take([suspect(1)])

    assert engine.dispatched() == [[9], []]

    assert marks(engine, 1) == [[], [1]]


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_one_that_has_crashed_runs_while_no_other_suspect_does(
    first: int, second: int, engine: IntakeHarness
):
    engine.dispatcher.take([suspect(1, crashes=first), suspect(2, crashes=second)])
    assert marks(engine, 1) == [[1], []]
    engine.suspects.turn(time.monotonic())
    assert engine.chores.pending_call is None

    ends(engine, 0, 1)

    assert marks(engine, 2) == [[2], []]


def test_suspects_that_never_crashed_run_beside_each_other(engine: IntakeHarness):
    engine.dispatcher.take([suspect(1), suspect(2)])

    assert marks(engine, 1) == [[1], []]
    assert marks(engine, 2) == [[], [2]]


def test_a_mark_that_is_not_answered_is_written_again_after_a_pause(engine: IntakeHarness):
    engine.dispatcher.take([suspect(1)])
    assert marks(engine, 1, AWAY) == [[], []]
    assert engine.suspects.next_at() == engine.outage.retry_at
    assert engine.chores.pending_call is None

    engine.outage.end()

    assert marks(engine, 1) == [[1], []]


def test_a_suspect_that_another_manager_has_taken_over_is_dropped(
    engine: IntakeHarness, recorded_events: RecordedEvents
):
    engine.dispatcher.take([suspect(1)])

    assert marks(engine, 1, False) == [[], []]

    assert engine.dispatcher.is_idle
    assert [event.task.id for event in recorded_events.of(TaskClaimLost)] == [1]


def test_a_suspect_that_is_dropped_while_it_is_marked_is_not_dispatched(engine: IntakeHarness):
    engine.dispatcher.take([suspect(1), suspect(2)])
    engine.suspects.turn(time.monotonic())
    engine.intake.revoke({1}, engine.pool.workers)
    engine.chores.answer(True)

    assert engine.dispatched() == [[], []]
    assert marks(engine, 2) == [[2], []]


def test_at_a_stop_suspects_are_released_also_one_that_is_being_marked(engine: IntakeHarness):
    engine.dispatcher.take([suspect(1), suspect(2)])
    engine.suspects.turn(time.monotonic())
    engine.suspects.stop()
    engine.dispatcher.stop()
    engine.suspects.turn(time.monotonic())
    engine.chores.answer(True)

    assert engine.dispatched() == [[], []]
    assert [row[ID] for row in engine.outcomes.written().released] == [1, 2]


def test_nothing_is_marked_while_others_may_have_taken_the_tasks(engine: IntakeHarness):
    engine.may_start = False
    engine.dispatcher.take([suspect(1)])

    engine.suspects.turn(time.monotonic())

    assert engine.chores.pending_call is None


def test_a_suspect_that_others_lock_holds_up_nothing_and_is_tried_again(engine: IntakeHarness):
    engine.dispatcher.take([suspect(1), suspect(2)])

    assert marks(engine, 1, error_with("55P03")) == [[], []]

    assert not engine.outage.is_on
    assert marks(engine, 2) == [[2], []]
    engine.suspects.turn(time.monotonic())
    assert 0 < engine.suspects.next_at() - time.monotonic() <= LOCKED_SECONDS
    engine.suspects.turn(time.monotonic() + LOCKED_SECONDS)
    assert engine.chores.call.keywords["task_id"] == 1


def test_workers_that_are_fed_before_they_hold_nothing_leave_one_for_a_suspect(engine: IntakeHarness):
    engine.intake.run_times.record("Letter", 100, 0.001)
    for slot in (0, 1):
        engine.dispatch_to(slot, task_row(10 + slot))
    assert engine.dispatched() == [[10], [11]]
    engine.dispatcher.take([suspect(1), *(task_row(number) for number in range(20, 30))])

    got = engine.dispatched()
    assert sorted(map(bool, got)) == [False, True], "one is not fed"
    free = [bool(ids) for ids in got].index(False)
    ends(engine, free, 10 + free)

    assert marks(engine, 1)[free] == [1]
    engine.dispatcher.take([task_row(30)])
    assert engine.dispatched()[free] == []
