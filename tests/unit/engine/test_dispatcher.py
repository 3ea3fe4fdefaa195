"""How many tasks a manager claims, and when workers get tasks or must return them."""

import time

import pytest

from django_partisan.engine.manager.chunking import SILENT_SECONDS, STALE_SECONDS
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.unsettled_limit import OUTCOMES
from django_partisan.engine.protocol import Returned, RunTasks
from tests.support.engine import IntakeHarness
from tests.support.rows import task_row


def test_nothing_is_claimed_while_no_worker_is_ready(new_desk: IntakeHarness):
    assert new_desk.dispatcher.room() == 0


def test_the_buffer_is_refilled_when_it_runs_low(desk: IntakeHarness):
    assert desk.dispatcher.room() == 10
    desk.dispatcher.take([task_row(task_id) for task_id in range(4)])
    assert desk.dispatcher.room() == 0
    assert not desk.dispatcher.is_idle

    assert desk.dispatched() == [[0], [1]]

    assert desk.buffered() == [2, 3]
    assert desk.dispatcher.room() == 8


def test_nothing_is_dispatched_while_others_may_have_taken_the_tasks(desk: IntakeHarness):
    desk.may_start = False
    desk.dispatcher.take([task_row(1)])
    assert desk.dispatched() == [[], []]

    desk.may_start = True

    assert desk.dispatched() == [[1], []]


@pytest.mark.parametrize(("held", "room"), [(1, 0), (0, 1)])
def test_tasks_behind_another_count_as_not_started_but_an_idle_worker_is_always_fed(
    held: int, room: int, desk: IntakeHarness
):
    desk.gives(0, *[task_row(task_id) for task_id in range(1, 20)])
    desk.gives(1, *[task_row(99)] * held)

    assert desk.dispatcher.room() == room


def test_a_worker_is_sent_the_times_of_claims_with_its_tasks(desk: IntakeHarness):
    before = time.monotonic()
    desk.dispatcher.take([task_row(1, token=5)])

    desk.dispatcher.turn(before)

    [message] = desk.workers[0].end.receive()
    assert isinstance(message, RunTasks)
    assert message.rows == [task_row(1, token=5)]
    assert before <= message.claim_times[5] <= time.monotonic()


def test_tasks_behind_one_that_takes_long_go_to_an_idle_worker(desk: IntakeHarness):
    stuck = desk.gives(0, task_row(1), task_row(2))
    stale_at = stuck.seen.active_at + STALE_SECONDS
    desk.dispatcher.turn(stuck.seen.active_at)
    assert desk.dispatcher.next_at() == stale_at

    desk.dispatcher.turn(stale_at)
    assert stuck.rung()
    assert desk.dispatcher.next_at() == NEVER
    stuck.says(Returned([2]))
    desk.turn()

    assert desk.dispatched()[1] == [2]


def test_tasks_behind_one_that_takes_long_stay_longer_while_no_other_worker_is_idle(desk: IntakeHarness):
    stuck = desk.gives(0, task_row(1), task_row(2))
    desk.gives(1, task_row(3))

    desk.dispatcher.turn(stuck.seen.active_at)

    assert desk.dispatcher.next_at() == stuck.seen.active_at + SILENT_SECONDS


def test_stopped_it_releases_the_buffer_and_dispatches_nothing_more(desk: IntakeHarness):
    desk.dispatcher.take([task_row(1)])
    desk.drain.request()

    desk.dispatcher.stop()

    assert desk.dispatched() == [[], []]
    assert desk.outcomes.written().released == [task_row(1)]
    assert desk.dispatcher.is_idle
    assert desk.dispatcher.next_at() == NEVER


def test_there_is_no_room_while_too_many_outcomes_are_unsettled(desk: IntakeHarness):
    assert desk.dispatcher.room() > 0
    desk.outcomes.settler.complete([task_row(number) for number in range(OUTCOMES)])
    assert desk.dispatcher.room() == 0

    while not desk.outcomes.settler.is_idle:
        desk.outcomes.write()

    assert desk.dispatcher.room() > 0
