"""Group commit: outcomes gather while a write is under way, and none is lost to an outage."""

import time
from typing import Any

import pytest

from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.settler import BATCH_AT_MOST, Batch
from django_partisan.engine.settling import Written
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.settling import STATUS_ERROR, STATUS_IN_PROCESS, STATUS_NEW, RowChange
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
from tests.support.engine import ALL_WRITTEN, AWAY, SettlerHarness
from tests.support.events import RecordedEvents
from tests.support.rows import task_row


def change_of(row: TaskRow, status: str = STATUS_NEW, **more: Any) -> RowChange:
    return RowChange(row[ID], row[TOKEN], status, **more)


@pytest.fixture
def play() -> SettlerHarness:
    return SettlerHarness()


def test_an_outcome_is_written_at_once_and_what_gathers_meanwhile_goes_into_the_next_write(play):
    assert len(play.written()) == 0
    play.settler.complete([task_row(1)])
    assert play.written() == Batch([task_row(1)], [], [])
    play.settler.complete([task_row(2)])
    play.settler.complete([task_row(3)])
    play.settler.release([task_row(4)])
    play.settler.settle(task_row(5), change_of(task_row(5)))
    assert play.written() == Batch([task_row(1)], [], [])
    assert play.settler.unsettled == 5
    play.thread.answer(ALL_WRITTEN)

    batch = play.written()

    assert batch == Batch([task_row(2), task_row(3)], [(task_row(5), change_of(task_row(5)))], [task_row(4)])
    assert sorted(play.settler.ids()) == [2, 3, 4, 5]
    assert not play.settler.is_idle
    play.thread.answer(ALL_WRITTEN)
    assert play.settler.is_idle


def test_a_batch_has_an_upper_size(play):
    rows = [task_row(number) for number in range(BATCH_AT_MOST + 1)]
    play.settler.complete(rows)
    for row in rows:
        play.settler.settle(row, change_of(row))

    sizes = [tuple(map(len, play.write()[:2])) for _ in range(3)]

    assert sizes == [(0, BATCH_AT_MOST), (BATCH_AT_MOST, 1), (1, 0)]
    assert play.settler.ids() == []


def test_two_outcomes_of_one_task_are_written_one_after_the_other_and_its_completion_last(play):
    crash = change_of(task_row(1), STATUS_IN_PROCESS, crashes=1)
    play.settler.settle(task_row(1), crash)
    play.settler.settle(task_row(1), crash)
    play.settler.complete([task_row(1)])
    play.settler.release([task_row(2)])

    assert play.write() == Batch([], [(task_row(1), crash)], [])
    assert play.write() == Batch([task_row(1)], [(task_row(1), crash)], [task_row(2)])


def test_a_failed_write_is_tried_again_as_it_was_until_the_outage_is_over(
    play, recorded_events: RecordedEvents
):
    play.settler.complete([task_row(1)])
    assert not play.write(AWAY).again
    play.settler.complete([task_row(2)])
    assert len(play.written()) == 0
    assert 0 < play.settler.next_at() - time.monotonic() <= 0.25
    assert play.write(AWAY, later=1) == Batch([task_row(1)], [], [], again=True)
    assert not play.settler.is_reachable
    assert play.written(later=10) == Batch([task_row(1)], [], [], again=True)
    assert play.settler.next_at() == NEVER
    play.thread.answer(ALL_WRITTEN)

    assert play.write() == Batch([task_row(2)], [], [])
    assert play.settler.is_reachable
    assert len(recorded_events.of(SettleErrored)) == 2
    [failed] = recorded_events.of(SettleFailed)
    assert (failed.number, failed.error.message) == (1, str(AWAY))
    assert [event.failures for event in recorded_events.of(DatabaseRestored)] == [2]


def test_that_tasks_wait_again_is_said_once_it_is_written_with_the_shortest_delay(play):
    for status, delay in ((STATUS_NEW, 30.0), (STATUS_NEW, 10.0), (STATUS_ERROR, 0.0)):
        play.settler.settle(task_row(1), change_of(task_row(play.settler.unsettled), status, delay=delay))
    play.written()
    assert play.requeued == []

    play.thread.answer(ALL_WRITTEN)

    assert play.requeued == [10.0]
    assert play.settler.failed == 1


def test_a_batch_is_emitted_with_the_contexts_and_ids_of_its_tasks(play, recorded_events: RecordedEvents):
    before = time.time()
    play.settler.complete([task_row(1, context='{"a":"b"}'), task_row(2)])
    play.settler.settle(task_row(3, context='{"c":"d"}'), change_of(task_row(3)))
    play.write()

    [settled] = recorded_events.of(OutcomesSettled)
    assert (settled.number, settled.task_ids) == (3, (1, 2, 3))
    assert settled.contexts == ('{"a":"b"}', '{"c":"d"}')
    assert 0 <= settled.seconds < 60
    assert before <= play.settler.last_finished_at <= time.time()


@pytest.mark.usefixtures("no_subscribers")
def test_a_batch_is_written_where_nobody_wants_the_event(play):
    play.settler.complete([task_row(1)])
    play.write()

    assert play.settler.last_finished_at is not None


def test_lost_claims_and_refused_outcomes_and_releases_are_emitted(play, recorded_events: RecordedEvents):
    refusal = ErrorInfo("Unsettleable", "no", "")
    play.settler.stop()
    play.settler.release([task_row(4), task_row(5)])
    play.write((Written([], []), [5]))
    assert play.settler.last_finished_at is None, "a release is no outcome"
    play.settler.complete([task_row(1), task_row(2)])
    play.settler.settle(task_row(3), change_of(task_row(3)))
    play.write((Written([1], [(3, refusal)]), []))

    assert recorded_events.of(TasksReleased) == [TasksReleased("default", 1, "stopped")]
    assert [event.task.id for event in recorded_events.of(TaskClaimLost)] == [1]
    [failed] = recorded_events.of(TaskFailed)
    assert (failed.run.id, failed.seconds, failed.reason, failed.error) == (3, None, "unsettleable", refusal)
    assert (play.settler.failed, play.settler.released) == (1, 1)


def test_tasks_released_while_the_manager_serves_are_shared(play, recorded_events: RecordedEvents):
    play.settler.release([task_row(1), task_row(2)])
    play.write((Written([], []), [1, 2]))

    assert recorded_events.of(TasksReleased) == [TasksReleased("default", 2, "shared")]
    assert play.settler.released == 0, "what was released at the stop is counted"
