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


def marks(desk: IntakeHarness, task_id: int, result: object = True) -> list[list[int]]:
    """Answer the next call, which marks a task; return the ids that each worker then gets."""
    desk.suspects.turn(time.monotonic())
    assert desk.chores.asked == "mark_begun"
    assert desk.chores.call.keywords == {"task_id": task_id, "token": 100 + task_id}
    desk.chores.answer(result)
    return desk.dispatched()


def ends(desk: IntakeHarness, slot: int, task_id: int) -> None:
    desk.workers[slot].says(report([task_id]))
    desk.turn()


def test_a_suspect_is_dispatched_when_its_mark_is_written_and_not_before(desk: IntakeHarness):
    desk.dispatcher.take([suspect(1)])
    assert desk.dispatched() == [[], []]
    assert not desk.dispatcher.is_idle
    assert desk.intake.all_ids([]) == [1]

    assert marks(desk, 1) == [[1], []]

    assert desk.dispatcher.is_idle
    assert desk.suspects.next_at() == NEVER


def test_its_worker_gets_nothing_else_meanwhile(desk: IntakeHarness):
    desk.intake.run_times.record("Letter", 100, 0.001)
    desk.dispatcher.take([suspect(1), task_row(2), task_row(3), task_row(4)])

    assert marks(desk, 1) == [[1], [2, 3, 4]]

    desk.dispatcher.take([task_row(5)])
    assert desk.dispatched()[0] == []
    ends(desk, 0, 1)
    desk.dispatcher.take([task_row(6)])
    assert desk.dispatched()[0] != []


def test_suspects_run_in_running_order_and_not_before_all_others(desk: IntakeHarness):
    for slot in (0, 1):
        desk.gives(slot, task_row(10 + slot))
    desk.dispatcher.take([task_row(1), suspect(2), task_row(3)])
    desk.suspects.turn(time.monotonic())
    assert desk.chores.asked is None, "no worker holds nothing"
    assert desk.dispatched() == [[10], [11]]
    ends(desk, 0, 10)
    assert desk.dispatched()[0] == [1]
    ends(desk, 0, 1)

    assert marks(desk, 2)[0] == [2]
    ends(desk, 1, 11)
    assert desk.dispatched()[1] == [3]


def test_rescued_tasks_whose_past_is_known_run_before_suspects(desk: IntakeHarness):
    desk.intake.buffer.add_rescued([task_row(9)])
    desk.dispatcher.take([suspect(1)])

    assert desk.dispatched() == [[9], []]

    assert marks(desk, 1) == [[], [1]]


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 0)])
def test_one_that_has_crashed_runs_while_no_other_suspect_does(first: int, second: int, desk: IntakeHarness):
    desk.dispatcher.take([suspect(1, crashes=first), suspect(2, crashes=second)])
    assert marks(desk, 1) == [[1], []]
    desk.suspects.turn(time.monotonic())
    assert desk.chores.asked is None

    ends(desk, 0, 1)

    assert marks(desk, 2) == [[2], []]


def test_suspects_that_never_crashed_run_beside_each_other(desk: IntakeHarness):
    desk.dispatcher.take([suspect(1), suspect(2)])

    assert marks(desk, 1) == [[1], []]
    assert marks(desk, 2) == [[], [2]]


def test_a_mark_that_is_not_answered_is_written_again_after_a_pause(desk: IntakeHarness):
    desk.dispatcher.take([suspect(1)])
    assert marks(desk, 1, AWAY) == [[], []]
    assert desk.suspects.next_at() == desk.outage.retry_at
    assert desk.chores.asked is None

    desk.outage.end()

    assert marks(desk, 1) == [[1], []]


def test_a_suspect_that_another_manager_has_taken_over_is_dropped(
    desk: IntakeHarness, recorded_events: RecordedEvents
):
    desk.dispatcher.take([suspect(1)])

    assert marks(desk, 1, False) == [[], []]

    assert desk.dispatcher.is_idle
    assert [event.task.id for event in recorded_events.of(TaskClaimLost)] == [1]


def test_a_suspect_that_is_dropped_while_it_is_marked_is_not_dispatched(desk: IntakeHarness):
    desk.dispatcher.take([suspect(1), suspect(2)])
    desk.suspects.turn(time.monotonic())
    desk.intake.revoke({1}, desk.pool.workers)
    desk.chores.answer(True)

    assert desk.dispatched() == [[], []]
    assert marks(desk, 2) == [[2], []]


def test_at_a_stop_suspects_are_released_also_one_that_is_being_marked(desk: IntakeHarness):
    desk.dispatcher.take([suspect(1), suspect(2)])
    desk.suspects.turn(time.monotonic())
    desk.suspects.stop()
    desk.dispatcher.stop()
    desk.suspects.turn(time.monotonic())
    desk.chores.answer(True)

    assert desk.dispatched() == [[], []]
    assert [row[ID] for row in desk.outcomes.written().released] == [1, 2]


def test_nothing_is_marked_while_others_may_have_taken_the_tasks(desk: IntakeHarness):
    desk.may_start = False
    desk.dispatcher.take([suspect(1)])

    desk.suspects.turn(time.monotonic())

    assert desk.chores.asked is None


def test_a_suspect_that_others_lock_holds_up_nothing_and_is_tried_again(desk: IntakeHarness):
    desk.dispatcher.take([suspect(1), suspect(2)])

    assert marks(desk, 1, error_with("55P03")) == [[], []]

    assert not desk.outage.is_on
    assert marks(desk, 2) == [[2], []]
    desk.suspects.turn(time.monotonic())
    assert 0 < desk.suspects.next_at() - time.monotonic() <= LOCKED_SECONDS
    desk.suspects.turn(time.monotonic() + LOCKED_SECONDS)
    assert desk.chores.call.keywords["task_id"] == 1


def test_workers_that_are_fed_before_they_hold_nothing_leave_one_for_a_suspect(desk: IntakeHarness):
    desk.intake.run_times.record("Letter", 100, 0.001)
    for slot in (0, 1):
        desk.gives(slot, task_row(10 + slot))
    assert desk.dispatched() == [[10], [11]]
    desk.dispatcher.take([suspect(1), *(task_row(number) for number in range(20, 30))])

    got = desk.dispatched()
    assert sorted(map(bool, got)) == [False, True], "one is not fed"
    free = [bool(ids) for ids in got].index(False)
    ends(desk, free, 10 + free)

    assert marks(desk, 1)[free] == [1]
    desk.dispatcher.take([task_row(30)])
    assert desk.dispatched()[free] == []
