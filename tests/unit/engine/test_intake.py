"""A task of ours is in exactly one place, and none is lost, whichever process dies."""

import time
import uuid
from dataclasses import replace
from typing import Any

import pytest

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.definitions import TaskDefinition
from django_partisan.engine.interrupting import TIMEOUT
from django_partisan.engine.outcome_writing import WriteResult
from django_partisan.engine.protocol import Interrupt, Report, Returned
from django_partisan.outcomes import (
    REASON_MANAGER_LOST,
    REASON_STOPPED,
    REASON_UNREGISTERED,
    REASON_WORKER_LOST,
)
from django_partisan.sql.claiming import ATTEMPTS, CRASHES, ID, PROCESSOR, TOKEN, TaskRow
from django_partisan.sql.history import EndedRun
from django_partisan.sql.holding import HeldProcessor
from django_partisan.sql.rescuing import RescuedTask
from django_partisan.sql.row_changes import STATUS_ERROR, STATUS_NEW, RowChange
from django_partisan.telemetry.events.runs import TaskFailed
from django_partisan.telemetry.events.tasks import TaskClaimLost, TaskRescued
from django_partisan.telemetry.events.values import LostRun
from django_partisan.telemetry.events.workers import WorkerExited
from tests.support.engine import IntakeHarness, report
from tests.support.events import RecordedEvents
from tests.support.registry import Idle
from tests.support.rows import task_row

MAX_CRASHES = 3
LOST = LostRun(1000.0, 1002.5, 0, 1, 0.5)


def rescues(recorded: RecordedEvents) -> list[tuple[int, str, str | None]]:
    return [(event.task.id, event.reason, event.previous_manager) for event in recorded.of(TaskRescued)]


def test_outcomes_go_to_the_settler_and_the_tasks_leave_their_worker(
    engine: IntakeHarness, recorded_events: RecordedEvents
):
    worker = engine.dispatch_to(0, *[task_row(task_id) for task_id in range(1, 6)])
    postponed = RowChange(2, 1, STATUS_NEW, 5.0, postpones=1)

    worker.sends(
        report([1, 99], changes=[tuple(postponed)], claims_lost=[3], settled=[4], telemetry=[("recorded", 7)])
    )
    engine.turn()

    batch = engine.outcomes.written()
    assert (batch.completed, batch.changes) == ([task_row(1)], [(task_row(2), postponed)])
    assert engine.pool.held() == [task_row(5)]
    assert sorted(engine.intake.all_ids(engine.pool.held())) == [1, 2, 5]
    assert [event.task.id for event in recorded_events.of(TaskClaimLost)] == [3]
    assert recorded_events.absorbed == [(0, 7)]


def test_how_long_tasks_take_is_learned_from_reports(engine: IntakeHarness):
    worker = engine.dispatch_to(0, task_row(1))
    worker.managed.expected_seconds = 0.1
    expected = engine.intake.run_times.expected("Letter")

    worker.sends(report([], measured={"Letter": (2, 0.002)}))
    engine.turn()

    assert engine.intake.run_times.expected("Letter") == 0.001
    assert worker.managed.expected_seconds == pytest.approx(0.1 - 2 * expected)


def test_while_draining_what_comes_in_is_released(engine: IntakeHarness):
    worker = engine.dispatch_to(0, task_row(1), task_row(2))
    engine.drain.request()

    engine.intake.on_claimed([task_row(3)])
    engine.intake.on_rescued([RescuedTask(None, task_row(4))])
    worker.sends(Returned([2]))
    engine.turn()

    assert engine.outcomes.written().released == [task_row(3), task_row(4), task_row(2)]
    assert engine.buffered() == []


def test_a_task_whose_worker_died_runs_next_and_counts_a_crash_and_the_rest_waits_in_its_place(
    engine: IntakeHarness, recorded_events: RecordedEvents
):
    begun = task_row(7, attempts=1, crashes=MAX_CRASHES - 1)
    engine.intake.on_claimed([task_row(1, priority=-5)])
    worker = engine.dispatch_to(0, begun, task_row(8), task_row(3, priority=-9))
    engine.begins(worker, 7)

    worker.exits(-11)
    engine.turn()

    assert engine.buffered() == [3, 1, 8]
    assert rescues(recorded_events) == []
    assert sorted(engine.intake.all_ids(engine.pool.held())) == [1, 3, 7, 8]

    [(counted, crash)] = engine.outcomes.write().crashed

    assert counted == begun
    first = engine.intake.buffer.first()
    assert first is not None
    assert (first[ATTEMPTS], first[CRASHES], first[TOKEN]) == (2, MAX_CRASHES, crash.new_token)
    assert engine.buffered() == [7, 3, 1, 8]
    assert rescues(recorded_events) == [(7, REASON_WORKER_LOST, None)]


def test_what_a_dead_manager_held_runs_before_all_else(
    engine: IntakeHarness, recorded_events: RecordedEvents
):
    dead = uuid.uuid4()
    engine.intake.on_claimed([task_row(1, priority=-5)])

    engine.intake.on_rescued(
        [RescuedTask(dead, task_row(7, crashes=MAX_CRASHES)), RescuedTask(None, task_row(6))]
    )

    assert engine.buffered() == [7, 6, 1]
    assert engine.outcomes.written().is_empty
    assert rescues(recorded_events) == [(7, REASON_MANAGER_LOST, str(dead)), (6, REASON_MANAGER_LOST, None)]


@pytest.mark.parametrize("of", ["worker", "manager"])
def test_a_task_that_killed_too_many_fails(of: str, engine: IntakeHarness, recorded_events: RecordedEvents):
    if of == "worker":
        engine.intake.on_exited(task_row(7, crashes=MAX_CRASHES), [], LOST)
    else:  # which counted the crash when it took the task over
        engine.intake.on_rescued([RescuedTask(None, task_row(7, crashes=MAX_CRASHES + 1))])

    [(_, change)] = engine.outcomes.written().changes
    assert (change.status, change.reason) == (STATUS_ERROR, REASON_WORKER_LOST)
    assert (change.attempts, change.crashes) == ((1, 1) if of == "worker" else (0, 0))
    assert change.error_message == "Letter: 4 workers died while running this task."
    [failed] = recorded_events.of(TaskFailed)
    assert (failed.run.id, failed.reason) == (7, REASON_WORKER_LOST)
    assert (engine.buffered(), rescues(recorded_events)) == ([], [])


CONTEXT = '{"traceparent": "t", "odd": 1}'
HEADERS = {"traceparent": "t"}


@pytest.mark.parametrize("crashes", [0, MAX_CRASHES], ids=["rescued", "failed"])
def test_the_end_of_a_lost_run_names_the_run_and_what_the_task_carries(
    crashes: int, engine: IntakeHarness, recorded_events: RecordedEvents
):
    begun = task_row(7, attempts=2, crashes=crashes, wait=1.5, context=CONTEXT)
    engine.intake.on_claimed([task_row(1)])
    [claimed] = engine.intake.claim_times.of([begun]).values()
    worker = engine.dispatch_to(1, begun)
    engine.begins(worker, 7)
    began = engine.presence.page(1).since
    worker.exits(-9)
    engine.turn()
    engine.outcomes.write()

    [exited] = recorded_events.of(WorkerExited)
    [event] = recorded_events.of(TaskFailed) + recorded_events.of(TaskRescued)
    task = event.run if isinstance(event, TaskFailed) else event.task
    lost = event.lost
    assert (task.attempt, task.headers, exited.task) == (3, HEADERS, task)
    assert (lost.slot, lost.generation) == (1, worker.managed.generation)
    assert lost.wait_seconds == pytest.approx(1.5 + began - claimed)
    assert lost.ended_at == pytest.approx(time.time(), abs=60)
    assert lost.ended_at - lost.began_at == pytest.approx(time.monotonic() - began, abs=60)


@pytest.mark.parametrize("crashes", [1, MAX_CRASHES + 1], ids=["rescued", "failed"])
@pytest.mark.parametrize(("ran_seconds", "attempt"), [(40.0, 3), (None, 4)])
def test_what_a_dead_manager_ran_is_lost_since_it_began_and_what_it_had_not_begun_is_not(
    ran_seconds: float | None,
    attempt: int,
    crashes: int,
    engine: IntakeHarness,
    recorded_events: RecordedEvents,
):
    row = task_row(7, attempts=3, crashes=crashes, context=CONTEXT)

    engine.intake.on_rescued([RescuedTask(None, row, ran_seconds)])

    [event] = recorded_events.of(TaskFailed) + recorded_events.of(TaskRescued)
    task, lost = event.run if isinstance(event, TaskFailed) else event.task, event.lost
    assert (task.attempt, task.headers) == (attempt, HEADERS)
    if ran_seconds is None:
        assert lost is None
    else:
        assert lost.ended_at - lost.began_at == pytest.approx(ran_seconds)
        assert lost[2:] == (None, None, None)


def test_a_stop_by_force_loses_the_run(engine: IntakeHarness, recorded_events: RecordedEvents):
    engine.drain.request()
    engine.drain.request()

    engine.intake.on_exited(task_row(7), [], LOST)

    [rescued] = recorded_events.of(TaskRescued)
    assert (rescued.reason, rescued.lost) == (REASON_STOPPED, LOST)


def test_while_draining_what_a_dead_worker_ran_is_requeued_with_its_crash_and_the_rest_released(
    engine: IntakeHarness,
):
    engine.drain.request()

    engine.intake.on_exited(task_row(7), [task_row(8)], LOST)

    batch = engine.outcomes.written()
    assert batch.changes == [(task_row(7), RowChange(7, 1, STATUS_NEW, crashes=1).after("crashed"))]
    assert batch.released == [task_row(8)]
    assert engine.buffered() == []


def test_a_task_whose_crash_cannot_be_counted_because_it_is_not_ours_does_not_run_again(
    engine: IntakeHarness, recorded_events: RecordedEvents
):
    engine.intake.on_exited(task_row(7), [], LOST)

    engine.outcomes.write(crashed=WriteResult([7], [], [], []))

    assert engine.buffered() == []
    assert rescues(recorded_events) == []
    assert [event.task.id for event in recorded_events.of(TaskClaimLost)] == [7]


def test_a_crash_that_is_counted_after_the_lease_was_lost_has_the_table_asked_whose_the_task_is(
    engine: IntakeHarness, recorded_events: RecordedEvents
):
    engine.intake.on_exited(task_row(7), [], LOST)
    engine.tokens.distrust_all()

    [(_, crash)] = engine.outcomes.write().crashed

    assert (engine.buffered(), rescues(recorded_events)) == ([], [])
    assert engine.tokens.listed() == [crash.new_token]
    assert engine.tokens.reason(crash.new_token) == REASON_WORKER_LOST


def test_a_task_that_killed_too_many_fails_though_a_revoked_run_of_it_goes_on_here(expired: IntakeHarness):
    expired.intake.on_rescued([RescuedTask(None, task_row(1, crashes=MAX_CRASHES + 1, token=2))])

    [(_, change)] = expired.outcomes.written().changes
    assert (change.id, change.token, change.status) == (1, 2, STATUS_ERROR)
    expired.workers[0].sends(report([1]))
    expired.turn()
    assert expired.buffered() == []


def test_a_task_whose_crash_is_counted_while_the_manager_drains_is_released_under_its_new_token(
    engine: IntakeHarness,
):
    engine.intake.on_exited(task_row(7), [], LOST)
    engine.drain.request()

    [(_, crash)] = engine.outcomes.write().crashed

    assert [(row[ID], row[TOKEN]) for row in engine.outcomes.written().released] == [(7, crash.new_token)]
    assert engine.buffered() == []


def test_a_task_that_runs_again_after_a_crash_was_due_since_its_first_claim(engine: IntakeHarness):
    engine.intake.on_claimed([task_row(7)])
    [claimed_at] = engine.intake.claim_times.of([task_row(7)]).values()
    engine.intake.on_exited(task_row(7), [], LOST)
    engine.outcomes.write()

    again = engine.intake.buffer.first()

    assert again is not None
    assert engine.intake.claim_times.of([again]) == {again[TOKEN]: claimed_at}


@pytest.mark.parametrize("begun", [task_row(7), None])
def test_a_stop_by_force_releases_all_and_counts_nothing(
    begun: TaskRow | None, engine: IntakeHarness, recorded_events: RecordedEvents
):
    engine.drain.request()
    engine.drain.request()

    engine.intake.on_exited(begun, [task_row(8)], LOST)

    batch = engine.outcomes.written()
    assert batch.changes == []
    assert [one[ID] for one in batch.released] == ([7, 8] if begun else [8])
    assert rescues(recorded_events) == ([(7, REASON_STOPPED, None)] if begun else [])


def finds_unknown(engine: IntakeHarness, row: TaskRow) -> None:
    """Let the first worker hold a task because it does not know its processor."""
    worker = engine.dispatch_to(0, row)
    worker.sends(report([], changes=[tuple(set_aside(row))], measured={row[PROCESSOR]: (1, 0.0)}))
    engine.turn()


def set_aside(row: TaskRow) -> RowChange:
    return RowChange.hold(row[ID], row[TOKEN], REASON_UNREGISTERED)


def test_once_a_worker_does_not_know_a_processor_all_tasks_of_it_are_set_aside_and_no_others(
    engine: IntakeHarness,
):
    engine.intake.on_claimed([task_row(2, "Gone"), task_row(3)])
    engine.intake.on_claimed([task_row(4, "Gone", takeovers=1)])
    engine.intake.on_rescued([RescuedTask(None, task_row(5, "Gone"))])

    finds_unknown(engine, task_row(1, "Gone"))
    engine.intake.on_claimed([task_row(6, "Gone"), task_row(7)])
    engine.intake.on_rescued([RescuedTask(None, task_row(8, "Gone"))])

    batch = engine.outcomes.write()
    assert sorted(change.id for _, change in batch.changes) == [1, 2, 4, 5, 6, 8]
    assert {change for _, change in batch.changes} == {set_aside(row) for row, _ in batch.changes}
    assert (engine.buffered(), engine.intake.buffer.suspects) == ([3, 7], [])
    assert engine.processors.not_emitted == {"Gone": 6}
    assert engine.outcomes.requeued == []
    assert engine.intake.run_times.measured("Gone") is None


def test_tasks_that_another_manager_can_run_are_released_to_it(engine: IntakeHarness):
    finds_unknown(engine, task_row(1, "Gone"))
    engine.processors.note_found([HeldProcessor("Gone", True, True)], 0.0)

    engine.intake.on_rescued([RescuedTask(None, task_row(2, "Gone"))])

    batch = engine.outcomes.write()
    assert [change.id for _, change in batch.changes] == [1]
    assert batch.released == [task_row(2, "Gone")]
    assert engine.processors.not_emitted == {"Gone": 1}


@pytest.mark.parametrize(
    "ran",
    [report([2]), report([], settled=[2]), report([], changes=[tuple(RowChange(2, 1, STATUS_ERROR))])],
    ids=["completed", "settled", "failed"],
)
def test_a_processor_of_which_a_task_ran_is_known_again(ran: Report, engine: IntakeHarness):
    finds_unknown(engine, task_row(1, "Gone"))
    version = engine.processors.version
    worker = engine.dispatch_to(0, task_row(2, "Gone"), task_row(3))

    worker.sends(ran)
    engine.turn()

    assert engine.processors.unknown == {}
    assert "Gone" in engine.processors.known
    assert engine.processors.version > version


def test_a_task_that_tried_in_vain_is_not_counted(engine: IntakeHarness):
    finds_unknown(engine, task_row(1, "Gone"))
    engine.processors.unknown["Gone"].begin_to_try(0.0)

    engine.intake.on_claimed([task_row(1, "Gone")])
    assert engine.buffered() == [1]
    finds_unknown(engine, engine.intake.buffer.take_all()[0])

    assert engine.processors.not_emitted == {"Gone": 1}


@pytest.fixture
def expired(engine: IntakeHarness) -> IntakeHarness:
    """A manager that lost its lease: worker 0 runs task 1, which others took over; task 2 is still ours."""
    engine.dispatch_to(0, task_row(1))
    engine.dispatch_to(1, task_row(2))
    engine.intake.on_claimed([task_row(3)])
    assert engine.intake.revoke({1, 3}, engine.pool.workers) == 3
    assert engine.buffered() == []
    assert [worker.was_rung() for worker in engine.workers] == [True, False]
    return engine


def test_a_task_whose_revoked_run_goes_on_here_waits_for_its_end(expired: IntakeHarness):
    again = task_row(1, token=2)
    expired.intake.on_claimed([again, task_row(4)])
    assert expired.buffered() == [4]
    assert sorted(expired.intake.all_ids(expired.pool.held())) == [1, 2, 4]

    expired.workers[0].sends(report([1]))
    expired.turn()

    assert expired.intake.buffer.rows() == [again, task_row(4)]
    assert expired.outcomes.written().completed == [task_row(1)]


def test_a_task_that_waits_and_is_taken_over_once_more_is_dropped(expired: IntakeHarness):
    expired.intake.on_claimed([task_row(1, token=2)])

    expired.intake.revoke({1}, expired.pool.workers)
    expired.workers[0].sends(report([1]))
    expired.turn()

    assert expired.buffered() == []


def test_tasks_that_waited_for_revoked_runs_run_by_priority(engine: IntakeHarness):
    worker = engine.dispatch_to(0, task_row(1), task_row(2), task_row(3))
    engine.intake.revoke({1, 2, 3}, engine.pool.workers)
    engine.intake.on_claimed([task_row(n, priority=p) for n, p in ((3, 1), (2, 2), (1, 3), (4, 4))])

    worker.sends(report([1, 2, 3]))
    engine.turn()

    assert engine.buffered() == [3, 2, 1, 4]


def test_a_rescued_task_whose_revoked_run_goes_on_here_waits_too(expired: IntakeHarness):
    expired.intake.on_rescued([RescuedTask(None, task_row(1, token=2)), RescuedTask(None, task_row(5))])
    assert expired.buffered() == [5]

    expired.workers[0].sends(Returned([1]))
    expired.turn()
    expired.intake.on_claimed([task_row(1, token=3)])

    assert expired.buffered() == [5, 1, 1], "nothing waits for a run that has ended"


def test_a_revoked_run_whose_worker_dies_is_no_crash(expired: IntakeHarness, recorded_events: RecordedEvents):
    expired.intake.on_claimed([task_row(1, token=2)])
    expired.begins(expired.workers[0], 1)

    expired.workers[0].exits(-9)
    expired.turn()

    assert expired.intake.buffer.rows() == [task_row(1, token=2)]
    assert rescues(recorded_events) == []
    assert expired.outcomes.settler.ids() == []


def test_while_draining_what_waited_for_a_revoked_run_is_released(expired: IntakeHarness):
    expired.intake.on_claimed([task_row(1, token=2)])
    expired.drain.request()

    expired.workers[0].sends(report([1]))
    expired.turn()

    assert expired.outcomes.written().released == [task_row(1, token=2)]


def test_a_task_that_is_claimed_again_though_it_runs_here_waits_until_that_run_has_ended(
    engine: IntakeHarness, recorded_events: RecordedEvents
):
    """PostgreSQL lost the first claim, and a pooler hid that PostgreSQL had crashed."""
    runs, rescued = task_row(1), task_row(2)
    worker = engine.dispatch_to(0, runs)
    engine.intake.on_rescued([RescuedTask(None, rescued)])

    engine.dispatcher.take([task_row(1, token=5), task_row(2, token=5), task_row(3, token=5)])

    assert engine.buffered() == [2, 3]
    assert worker.was_rung()
    worker.sends(report([1]))
    engine.turn()
    assert engine.outcomes.written().completed == [runs], "whose claim is not ours any more"
    assert sorted(engine.buffered()) == [1, 2, 3]
    assert {row[TOKEN] for row in engine.intake.buffer.rows()} == {5}


def test_a_claim_of_other_tasks_drops_nothing(engine: IntakeHarness):
    worker = engine.dispatch_to(0, task_row(1))
    engine.intake.on_claimed([task_row(2)])

    engine.dispatcher.take([task_row(3)])

    assert engine.buffered() == [2, 3]
    assert not worker.was_rung()


def test_a_suspect_that_is_claimed_again_is_here_once(engine: IntakeHarness):
    engine.intake.on_claimed([task_row(1, takeovers=1)])

    engine.dispatcher.take([task_row(1, takeovers=1, token=5)])

    assert [row[TOKEN] for row in engine.intake.buffer.suspects] == [5]


def test_a_pause_that_user_code_computes_is_not_asked_for_in_the_manager(
    own_registry: None, engine: IntakeHarness
):
    def never(error: BaseException, current: Any) -> float:
        raise AssertionError("user code ran in the manager")

    retry = ErrorsHandleConfig([TimeoutError], 3, 5.0)
    letter = type("Letter", (Idle,), {"RETRY_ON_ERROR_CONFIG": retry})
    registry.add(replace(TaskDefinition.of_processor(letter), pause_before_retry=never))
    engine.dispatch_to(0, task_row(1))

    engine.intake.on_run_killed(task_row(1), Interrupt(1, TIMEOUT, "too long"), LOST, EndedRun())
    engine.turn()

    [(_, change)] = engine.outcomes.written().changes
    assert (change.status, change.delay, change.retries) == (STATUS_NEW, 5.0, 1)
