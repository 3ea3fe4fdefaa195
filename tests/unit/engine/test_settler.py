"""Group commit: outcomes gather during a write, and an outage loses none of them."""

import time
from typing import Any

import pytest
from django.db import OperationalError

from django_partisan.engine.manager.batch_limit import BatchLimit
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.delayed_outcomes import Entry, Part
from django_partisan.engine.manager.settle_events import EMITTED_AFTER_SECONDS
from django_partisan.engine.manager.settler import BATCH_AT_MOST
from django_partisan.engine.manager.unsettled_limit import OUTCOMES, UnsettledLimit
from django_partisan.engine.outcome_writing import Kind, WriteResult
from django_partisan.sql.claiming import ATTEMPTS, CRASHES, ID, TOKEN, TaskRow
from django_partisan.sql.errors import explained
from django_partisan.sql.history import EndedRun
from django_partisan.sql.row_changes import STATUS_ERROR, STATUS_NEW, RowChange
from django_partisan.telemetry.events.managers import DatabaseRestored
from django_partisan.telemetry.events.queues import (
    OutcomesSettled,
    SettleErrored,
    SettleFailed,
    TasksReleased,
)
from django_partisan.telemetry.events.runs import TaskFailed
from django_partisan.telemetry.events.tasks import TaskClaimLost
from django_partisan.telemetry.events.values import ErrorInfo
from tests.support.engine import AWAY, CANCELLED, Batch, SettlerHarness
from tests.support.events import RecordedEvents
from tests.support.rows import task_row

NEW_TOKEN = 7_000


def change_of(row: TaskRow, status: str = STATUS_NEW, **more: Any) -> RowChange:
    return RowChange(row[ID], row[TOKEN], status, **more)


@pytest.fixture
def harness() -> SettlerHarness:
    return SettlerHarness()


def test_an_outcome_is_written_at_once_and_what_gathers_meanwhile_goes_into_the_next_write(harness):
    assert harness.written().is_empty
    harness.settler.complete([task_row(1)])
    assert harness.written() == Batch([task_row(1)], [], [])
    harness.settler.complete([task_row(2)])
    harness.settler.complete([task_row(3)])
    harness.settler.release([task_row(4)])
    harness.settler.settle(task_row(5), change_of(task_row(5)))
    assert harness.written() == Batch([task_row(1)], [], [])
    assert harness.settler.unsettled == 5
    harness.answer()

    batch = harness.written()

    assert batch == Batch([task_row(2), task_row(3)], [(task_row(5), change_of(task_row(5)))], [task_row(4)])
    assert sorted(harness.settler.ids()) == [2, 3, 4, 5]
    assert not harness.settler.is_idle
    harness.answer()
    assert harness.settler.is_idle


def test_outcomes_gather_after_a_write_has_begun_even_if_it_ends_at_once():
    harness = SettlerHarness(gather_seconds=60.0)
    harness.settler.complete([task_row(1)])
    before = time.monotonic()
    assert harness.write() == Batch([task_row(1)], [], [])

    harness.settler.complete([task_row(2)])

    assert before + 60.0 <= harness.settler.next_at() <= time.monotonic() + 60.0
    assert harness.written().is_empty
    harness.settler.complete([task_row(3)])
    assert harness.written(later=60.0) == Batch([task_row(2), task_row(3)], [], [])


def test_a_batch_has_an_upper_size(harness):
    rows = [task_row(number) for number in range(BATCH_AT_MOST + 1)]
    harness.settler.complete(rows)
    for row in rows:
        harness.settler.settle(row, change_of(row))

    sizes = [tuple(map(len, harness.write()[:2])) for _ in range(2)]

    assert sizes == [(BATCH_AT_MOST, BATCH_AT_MOST), (1, 1)]
    assert harness.settler.ids() == []


def test_a_task_whose_crash_is_counted_is_passed_on_under_its_new_token_once_that_is_written(harness):
    counted: list[TaskRow] = []
    harness.settler.count_crash(task_row(1, attempts=2, crashes=1), NEW_TOKEN, counted.append)
    [(row, crash)] = harness.written().crashed
    assert (row[ID], crash.id, crash.token) == (1, 1, 1)
    assert counted == []
    assert harness.settler.ids() == [1]

    harness.answer()

    [again] = counted
    assert (again[ATTEMPTS], again[CRASHES], again[TOKEN]) == (3, 2, crash.new_token)
    assert harness.settler.is_idle


def test_after_a_lost_answer_a_crash_is_counted_under_the_same_new_token(harness):
    counted: list[TaskRow] = []
    harness.settler.count_crash(task_row(1), NEW_TOKEN, counted.append)
    first = harness.write(AWAY)

    second = harness.write(later=1)

    assert second == first._replace(again=True)
    assert [row[TOKEN] for row in counted] == [first.crashed[0][1].new_token]


@pytest.mark.parametrize(
    "found", [WriteResult([1], [], [], []), WriteResult([], [(1, ErrorInfo("", "", ""))], [], [])]
)
def test_a_task_that_is_not_ours_or_was_refused_does_not_run_again_after_a_crash(
    found: WriteResult, harness, recorded_events: RecordedEvents
):
    counted: list[TaskRow] = []
    harness.settler.count_crash(task_row(1), NEW_TOKEN, counted.append)

    harness.write(crashed=found)

    assert counted == [None]
    assert harness.settler.is_idle
    assert [event.task.id for event in recorded_events.of(TaskClaimLost)] == found.lost


def test_a_failed_write_is_tried_again_as_it_was_until_the_outage_is_over(
    harness, recorded_events: RecordedEvents
):
    harness.settler.complete([task_row(1)])
    assert not harness.write(AWAY).again
    harness.settler.complete([task_row(2)])
    assert harness.written().is_empty
    assert 0 < harness.settler.next_at() - time.monotonic() <= 0.25
    assert harness.write(AWAY, later=1) == Batch([task_row(1)], [], [], again=True)
    assert not harness.settler.is_reachable
    assert harness.written(later=10) == Batch([task_row(1)], [], [], again=True)
    assert harness.settler.next_at() == NEVER
    harness.answer()

    assert harness.write() == Batch([task_row(2)], [], [])
    assert harness.settler.is_reachable
    assert len(recorded_events.of(SettleErrored)) == 2
    [failed] = recorded_events.of(SettleFailed)
    assert (failed.number, failed.error.message) == (1, str(AWAY))
    assert [event.failures for event in recorded_events.of(DatabaseRestored)] == [2]


def test_that_tasks_wait_again_is_said_once_it_is_written_with_the_shortest_delay(harness):
    for status, delay in ((STATUS_NEW, 30.0), (STATUS_NEW, 10.0), (STATUS_ERROR, 0.0)):
        harness.settler.settle(
            task_row(1), change_of(task_row(harness.settler.unsettled), status, delay=delay)
        )
    harness.written()
    assert harness.requeued == []

    harness.answer()

    assert harness.requeued == [10.0]
    assert harness.settler.failed == 1


def test_a_batch_is_emitted_with_the_contexts_and_ids_of_its_tasks(harness, recorded_events: RecordedEvents):
    before = time.time()
    harness.settler.complete([task_row(1, context='{"a":"b"}'), task_row(2)])
    harness.settler.settle(task_row(3, context='{"c":"d"}'), change_of(task_row(3)))
    harness.write()

    [settled] = recorded_events.of(OutcomesSettled)
    assert (settled.number, settled.task_ids) == (3, (1, 2, 3))
    assert settled.contexts == ('{"a":"b"}', '{"c":"d"}')
    assert 0 <= settled.seconds < 60
    assert before <= harness.settler.last_finished_at <= time.time()


@pytest.mark.usefixtures("no_subscribers")
def test_a_batch_is_written_where_nobody_wants_the_event(harness):
    harness.settler.complete([task_row(1)])
    harness.write()

    assert harness.settler.last_finished_at is not None


def test_lost_claims_and_refused_outcomes_and_releases_are_emitted(harness, recorded_events: RecordedEvents):
    refusal = ErrorInfo("Unsettleable", "no", "")
    harness.settler.stop()
    harness.settler.release([task_row(4), task_row(5)])
    harness.write(released=WriteResult([4], [], [], []))
    assert harness.settler.last_finished_at is None, "a release is no outcome"
    harness.settler.complete([task_row(1), task_row(2)])
    harness.settler.settle(task_row(3), change_of(task_row(3)))
    harness.write(completed=WriteResult([1], [], [], []), changed=WriteResult([], [(3, refusal)], [], []))

    assert recorded_events.of(TasksReleased) == [TasksReleased("default", 1, "stopped")]
    assert [event.task.id for event in recorded_events.of(TaskClaimLost)] == [1]
    [failed] = recorded_events.of(TaskFailed)
    assert (failed.run.id, failed.seconds, failed.reason, failed.error) == (3, None, "unsettleable", refusal)
    assert (harness.settler.failed, harness.settler.released) == (1, 1)


def test_tasks_released_while_the_manager_serves_are_shared(harness, recorded_events: RecordedEvents):
    harness.settler.release([task_row(1), task_row(2)])
    harness.write()

    assert recorded_events.of(TasksReleased) == [TasksReleased("default", 2, "shared")]
    assert harness.settler.released == 0, "what was released at the stop is counted"


def lost_lock(*ids: int) -> WriteResult:
    """Return the result of a write that waited for a lock too long."""
    return WriteResult([], [], list(ids), [], OperationalError("canceling statement due to lock timeout"))


def cancelled(*ids: int) -> WriteResult:
    """Return the result of a write that took too long; for a single task, the error says what to set."""
    cause = CANCELLED
    return (
        WriteResult([], [], list(ids), [], cause)
        if len(ids) > 1
        else WriteResult([], [], [], [*ids], explained(cause))
    )


def test_what_is_held_up_is_tried_in_halves_apart_from_what_gathers(harness):
    rows = [task_row(number) for number in range(4)]
    entries: list[Entry] = [(row, change_of(row)) for row in rows]
    for row in rows:
        harness.settler.settle(row, change_of(row))
    harness.write(changed=lost_lock(0, 1, 2, 3))
    harness.settler.complete([task_row(9)])

    batch = harness.write()
    assert batch.completed == [task_row(9)]
    assert batch.retried == Part(Kind.CHANGED, entries[:2], is_retry=True)
    batch = harness.write(changed=lost_lock(2, 3))

    assert batch.retried == Part(Kind.CHANGED, entries[2:], is_retry=True)
    assert harness.settler.next_at() == 0.0
    assert sorted(harness.settler.ids()) == [2, 3]
    assert [harness.write().retried.entries for _ in range(2)] == [entries[2:3], entries[3:]]
    assert harness.settler.is_idle


def test_a_row_that_others_lock_is_tried_at_growing_intervals_and_holds_up_nothing(harness):
    harness.settler.complete([task_row(1)])
    harness.write(completed=WriteResult([], [], [], [1]))
    pauses = []

    for tries in range(5):
        pauses.append(harness.settler.next_at() - time.monotonic())
        harness.settler.complete([task_row(10 + tries)])
        assert harness.write().completed == [task_row(10 + tries)]
        assert harness.write(later=4, completed=WriteResult([], [], [], [1])).retried is not None

    assert [round(pause, 1) for pause in pauses] == [0.2, 0.5, 1.0, 2.0, 3.0]
    assert harness.settler.is_delayed
    assert harness.settler.is_reachable
    harness.write(later=4)
    assert harness.settler.is_idle
    assert not harness.settler.is_delayed
    assert harness.settler.next_at() == NEVER


@pytest.mark.parametrize("blockers", ["session 4711 (psql)", ""])
def test_that_rows_stay_locked_is_emitted_once_after_some_seconds_with_the_session_that_locks_them(
    harness, recorded_events: RecordedEvents, monkeypatch: pytest.MonkeyPatch, blockers: str
):
    locked = WriteResult([], [], [], [1], blockers=blockers)
    harness.settler.complete([task_row(1)])
    harness.write(completed=locked)
    assert recorded_events.of(SettleErrored) == []
    began = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: began + EMITTED_AFTER_SECONDS + 1)

    for _ in range(2):
        harness.write(later=4, completed=locked)

    [failed] = recorded_events.of(SettleFailed)
    assert (failed.number, "lock these rows" in failed.error.message) == (1, True)
    assert failed.error.message.endswith(blockers or "see pg_blocking_pids()")
    assert len(recorded_events.of(SettleErrored)) == 2
    harness.write(later=4)
    assert recorded_events.of(DatabaseRestored) == []


def test_a_batch_that_takes_too_long_is_halved_and_so_is_the_next(harness):
    rows = [task_row(number) for number in range(8)]
    harness.settler.complete(rows)
    harness.write(completed=cancelled(*range(8)))
    harness.settler.complete(rows)

    batch = harness.write()

    assert batch.completed == rows[:4]
    assert [row for row, _ in batch.retried.entries] == rows[:4]


def test_the_size_of_a_batch_grows_again_step_by_step(monkeypatch: pytest.MonkeyPatch):
    limit = BatchLimit(100)
    limit.cancelled(40)
    assert limit.rows == 20
    began = time.monotonic()
    sizes = []

    for seconds in range(1, 40, 6):
        monkeypatch.setattr(time, "monotonic", lambda: began + seconds)  # noqa: B023
        limit.finished(limit.rows)
        limit.finished(limit.rows - 1)
        sizes.append(limit.rows)

    assert sizes == [20, 20, 40, 40, 80, 80, 100]
    limit.cancelled(2)
    limit.cancelled(1)
    assert limit.rows == 1


def test_what_waited_for_locks_is_tried_again_in_parts_that_one_statement_takes(harness):
    for number in range(6):
        harness.settler.complete([task_row(number)])
        harness.write(completed=WriteResult([], [], [], [number]))
    harness.settler.complete([task_row(number) for number in range(10, 20)])
    harness.write(completed=cancelled(*range(10, 20)))

    sizes = [len(harness.write(later=9).retried.entries) for _ in range(4)]

    assert sizes == [5, 5, 5, 1]
    assert harness.settler.is_idle


def test_one_task_that_takes_too_long_is_told_with_what_to_set_and_holds_up_no_other(
    harness, recorded_events: RecordedEvents
):
    harness.settler.complete([task_row(1)])
    harness.settler.release([task_row(2)])
    harness.write(completed=cancelled(1))

    assert harness.settler.ids() == [1]
    assert harness.settler.is_reachable
    [failed] = recorded_events.of(SettleFailed)
    assert "statement_timeout" in failed.error.message


def test_a_server_that_finishes_no_statement_in_time_is_an_outage(harness, recorded_events: RecordedEvents):
    harness.settler.complete([task_row(1)])
    harness.write(completed=cancelled(1))
    assert not harness.settler.is_reachable
    assert harness.written().is_empty

    harness.write(later=9, completed=cancelled(1))
    harness.settler.complete([task_row(2), task_row(3)])
    harness.write(later=9, completed=cancelled(2, 3))
    assert not harness.settler.is_reachable
    harness.settler.complete([task_row(4)])
    while not harness.settler.is_idle:
        harness.write(later=9)

    assert harness.settler.is_reachable
    assert len(recorded_events.of(SettleFailed)) == 1
    assert len(recorded_events.of(DatabaseRestored)) == 1


def test_too_many_unsettled_outcomes_are_too_many_and_so_are_large_ones(harness):
    assert not harness.settler.is_full
    harness.settler.complete([task_row(number) for number in range(OUTCOMES - 1)])
    assert not harness.settler.is_full
    harness.settler.release([task_row(OUTCOMES)])
    assert harness.settler.is_full

    limit = UnsettledLimit(characters=1000)
    failure = change_of(task_row(1), STATUS_ERROR, error_message="m" * 500, error_traceback="t" * 500)
    assert limit.is_reached(1, lambda: [(task_row(1), failure)])
    assert not UnsettledLimit(characters=1000).is_reached(1, lambda: [(task_row(1), change_of(task_row(1)))])


def test_results_that_wait_to_be_settled_weigh_too():
    row, run = task_row(1), EndedRun(0.0, 0.5, "elsewhere:17")
    repeated = RowChange.complete(1, 1, run, "r" * 1000)

    assert UnsettledLimit(characters=1000).is_reached(1, lambda: [(row, (0, "elsewhere:17", "r" * 1000))])
    assert UnsettledLimit(characters=1000).is_reached(1, lambda: [(row, repeated)])
    assert not UnsettledLimit(characters=1000).is_reached(1, lambda: [(row, (0, "elsewhere:17", None))])


def test_a_task_that_is_set_aside_is_no_outcome_and_none_that_can_be_claimed(
    harness, recorded_events: RecordedEvents
):
    harness.settler.settle(task_row(1), RowChange.hold(1, 1, "unregistered"))

    harness.write()

    assert harness.settler.last_finished_at is None
    assert recorded_events.of(OutcomesSettled) == []
    assert harness.requeued == []
