"""How many tasks a manager claims, and when workers get tasks or must return them."""

import time

import pytest

from django_partisan.engine.manager.chunking import SILENT_SECONDS, STALE_SECONDS
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.unsettled_limit import OUTCOMES
from django_partisan.engine.protocol import Returned, RunTasks
from django_partisan.sql.rescuing import RescuedTask
from tests.support.engine import IntakeHarness, report
from tests.support.rows import task_row

TINY = "Tiny"


def test_nothing_is_claimed_while_no_worker_is_ready(new_engine: IntakeHarness):
    assert new_engine.dispatcher.room() == 0


def test_the_buffer_is_refilled_when_it_runs_low(engine: IntakeHarness):
    assert engine.dispatcher.room() == 10
    engine.dispatcher.take([task_row(task_id) for task_id in range(5)])
    assert engine.dispatcher.room() == 0
    assert not engine.dispatcher.is_idle

    assert engine.dispatched() == [[0], [1]]

    assert engine.buffered() == [2, 3, 4]
    assert engine.dispatcher.room() == 0
    engine.intake.buffer.drop({4})
    assert engine.dispatcher.room() == 8


def test_tasks_that_idle_workers_are_about_to_start_do_not_count(engine: IntakeHarness):
    engine.dispatcher.take([task_row(task_id) for task_id in range(4)])

    assert engine.dispatcher.room() == 8  # the dispatcher's turn comes after the claimer's

    assert engine.dispatched() == [[0], [1]]
    assert engine.dispatcher.room() == 8


def test_nothing_is_claimed_for_an_idle_worker_that_is_reserved_for_a_suspect(engine: IntakeHarness):
    engine.dispatch_to(0, *[task_row(task_id) for task_id in range(20)])
    assert engine.dispatcher.room() == 1

    engine.pool.reserved = engine.workers[1].managed

    assert engine.dispatcher.room() == 0


def test_a_worker_is_idle_unless_it_holds_a_task_or_one_is_buffered_for_it(engine: IntakeHarness):
    assert engine.dispatcher.has_idle_worker
    engine.dispatch_to(0, task_row(1))
    assert engine.dispatcher.has_idle_worker

    engine.dispatcher.take([task_row(2)])
    assert not engine.dispatcher.has_idle_worker

    assert engine.dispatched()[1] == [2]
    assert not engine.dispatcher.has_idle_worker


def test_nothing_is_dispatched_while_others_may_have_taken_the_tasks(engine: IntakeHarness):
    engine.may_start = False
    engine.dispatcher.take([task_row(1)])
    assert engine.dispatched() == [[], []]

    engine.may_start = True

    assert engine.dispatched() == [[1], []]


@pytest.mark.parametrize(("held", "room"), [(1, 0), (0, 1)])
def test_tasks_behind_another_count_as_not_started_but_an_idle_worker_is_always_fed(
    held: int, room: int, engine: IntakeHarness
):
    engine.dispatch_to(0, *[task_row(task_id) for task_id in range(1, 20)])
    engine.dispatch_to(1, *[task_row(99)] * held)

    assert engine.dispatcher.room() == room


def hold_tiny_tasks(engine: IntakeHarness, number: int) -> None:
    """Let each of the two workers hold this many tasks, which are expected to take 10 us each."""
    engine.intake.run_times.record(TINY, 100, 100 * 1e-5)
    engine.dispatcher.take([task_row(task_id, TINY) for task_id in range(2 * number)])
    assert [len(ids) for ids in engine.dispatched()] == [number, number]


@pytest.mark.parametrize(
    ("held", "claim_seconds", "room"),
    [(5, 0.001, 10), (5, 0.0, 0), (5, 4e-5, 0), (6, 0.001, 10), (7, 0.001, 0)],
    ids=["all", "no claim yet", "a fast claim", "at most the maximum", "more than the maximum"],
)
def test_tasks_that_should_have_started_when_the_claim_is_answered_do_not_count(
    held: int, claim_seconds: float, room: int, engine: IntakeHarness
):
    hold_tiny_tasks(engine, held)

    assert engine.dispatcher.room(claim_seconds) == room


def test_of_the_tasks_claimed_early_those_above_the_maximum_are_released_if_the_others_do_not_start(
    engine: IntakeHarness,
):
    hold_tiny_tasks(engine, 8)
    for slot, first in enumerate((0, 8)):
        engine.workers[slot].managed.recall()
        engine.workers[slot].sends(Returned(list(range(first + 1, first + 8))))
    engine.turn()

    assert engine.dispatched() == [[], []]

    assert engine.buffered() == [*range(1, 8), *range(9, 12)]
    assert engine.outcomes.written().released == [task_row(task_id, TINY) for task_id in range(12, 16)]


def test_after_a_release_of_surplus_tasks_nothing_is_expected_of_a_worker_until_it_reports(
    engine: IntakeHarness,
):
    hold_tiny_tasks(engine, 1)  # both take longer than expected
    engine.dispatcher.take([task_row(task_id) for task_id in range(10, 20)])  # these are not sent behind them
    assert engine.dispatcher.room(0.001) == 10
    surplus = [task_row(task_id) for task_id in range(20, 30)]
    engine.dispatcher.take(surplus)
    assert engine.dispatched() == [[], []]
    assert engine.outcomes.written().released == surplus

    assert engine.dispatcher.room(0.001) == 0

    engine.workers[0].sends(report([0], measured={TINY: (1, 1e-5)}))
    engine.turn()
    assert engine.dispatcher.room(0.001) == 10


@pytest.mark.parametrize(("tasks_left", "room"), [(1, 0), (100, 10)])
def test_no_more_tasks_are_expected_to_start_than_workers_may_run_before_they_are_recycled(
    tasks_left: int, room: int, engine: IntakeHarness
):
    engine.intake.run_times.record(TINY, 100, 100 * 1e-5)
    for worker in engine.workers:
        worker.managed.tasks_left = tasks_left

    engine.dispatcher.take([task_row(task_id, TINY) for task_id in range(10)])

    assert engine.dispatcher.room(0.001) == room


def test_tasks_above_the_maximum_are_not_released_if_they_were_rescued(engine: IntakeHarness):
    engine.dispatch_to(0, task_row(98))
    engine.dispatch_to(1, task_row(99))
    engine.intake.on_rescued([RescuedTask(None, task_row(task_id), None) for task_id in range(11)])
    engine.dispatcher.take([task_row(50)])

    engine.dispatcher.turn(time.monotonic())

    assert engine.buffered() == [*range(11), 50]
    assert engine.outcomes.settler.is_idle


def test_a_worker_is_sent_the_times_of_claims_with_its_tasks(engine: IntakeHarness):
    before = time.monotonic()
    engine.dispatcher.take([task_row(1, token=5)])

    engine.dispatcher.turn(before)

    [message] = engine.workers[0].end.receive()
    assert isinstance(message, RunTasks)
    assert message.rows == [task_row(1, token=5)]
    assert before <= message.claim_times[5] <= time.monotonic()


def test_tasks_behind_one_that_takes_long_go_to_an_idle_worker(engine: IntakeHarness):
    stuck = engine.dispatch_to(0, task_row(1), task_row(2))
    stale_at = stuck.managed.active_at + STALE_SECONDS
    engine.dispatcher.turn(stuck.managed.active_at)
    assert engine.dispatcher.next_at() == stale_at

    engine.dispatcher.turn(stale_at)
    assert stuck.was_rung()
    assert engine.dispatcher.next_at() == NEVER
    stuck.sends(Returned([2]))
    engine.turn()

    assert engine.dispatched()[1] == [2]


def test_tasks_behind_one_that_takes_long_stay_longer_while_no_other_worker_is_idle(engine: IntakeHarness):
    stuck = engine.dispatch_to(0, task_row(1), task_row(2))
    engine.dispatch_to(1, task_row(3))

    engine.dispatcher.turn(stuck.managed.active_at)

    assert engine.dispatcher.next_at() == stuck.managed.active_at + SILENT_SECONDS


def test_stopped_it_releases_the_buffer_and_dispatches_nothing_more(engine: IntakeHarness):
    engine.dispatcher.take([task_row(1)])
    engine.drain.request()

    engine.dispatcher.stop()

    assert engine.dispatched() == [[], []]
    assert engine.outcomes.written().released == [task_row(1)]
    assert engine.dispatcher.is_idle
    assert engine.dispatcher.next_at() == NEVER


def test_there_is_no_room_while_too_many_outcomes_are_unsettled(engine: IntakeHarness):
    assert engine.dispatcher.room() > 0
    engine.outcomes.settler.complete([task_row(number) for number in range(OUTCOMES)])
    assert engine.dispatcher.room() == 0

    while not engine.outcomes.settler.is_idle:
        engine.outcomes.write()

    assert engine.dispatcher.room() > 0
