"""A task that has not started when it expires ends without a run; every other task runs."""

import json
import time
from typing import Any

import pytest

from django_partisan import registry
from django_partisan.engine import boot_clock
from django_partisan.engine.expiring import expire
from django_partisan.engine.judge import EXPIRED, RAN
from django_partisan.engine.manager.chunking import CLAIMS_REMEMBERED
from django_partisan.engine.protocol import Returned
from django_partisan.engine.worker.executor import Executor
from django_partisan.engine.worker.report import PendingReport
from django_partisan.sql.claiming import WAIT, TaskRow
from django_partisan.sql.history import EndedRun
from django_partisan.sql.rescuing import RescuedTask
from django_partisan.telemetry.events.tasks import TaskClaimLost, TaskExpired
from tests.support.engine import ALL_WRITTEN, IntakeHarness, config_of, report
from tests.support.events import RecordedEvents
from tests.support.registry import Idle
from tests.support.rows import task_row
from tests.support.waiting import wait_until

TYPE = "django_partisan.exceptions.TaskExpired"


def expired(recorded: RecordedEvents) -> list[int]:
    return [event.task.id for event in recorded.of(TaskExpired)]


def test_the_change_ends_the_task_and_says_why():
    change = expire(task_row(1, token=8))

    assert (change.id, change.token, change.status, change.attempts) == (1, 8, "error", 0)
    assert json.loads(str(change.entry)) == {
        "outcome": "failed", "reason": "expired", "error_type": TYPE, "error_message": change.error_message,
    }  # fmt: skip


def test_what_is_claimed_too_late_ends_without_a_run_and_is_no_failure(
    engine: IntakeHarness, recorded: RecordedEvents
):
    rows = [task_row(1, expires=-0.5), task_row(2, expires=60.0), task_row(3), task_row(4, expires=0.0)]

    engine.intake.on_claimed(rows)

    assert engine.buffered() == [2, 3]
    assert expired(recorded) == []  # it is not written yet
    assert [change for _, change in engine.outcomes.write().changes] == [expire(rows[0]), expire(rows[3])]
    assert expired(recorded) == [1, 4]
    assert engine.outcomes.settler.failed == 0


@pytest.mark.parametrize("begun", [{"attempts": 1}, {"takeovers": 1}])
def test_a_task_that_has_or_may_have_started_does_not_expire(engine: IntakeHarness, begun: Any):
    engine.intake.on_claimed([task_row(1, expires=-60.0, **begun)])

    assert engine.buffered() + [row[0] for row in engine.intake.buffer.suspects] == [1]


def test_a_task_that_a_worker_returns_ends_if_it_has_expired_meanwhile(
    engine: IntakeHarness, recorded: RecordedEvents
):
    worker = engine.dispatch_to(0, task_row(1, expires=boot_clock.now() - 1))

    worker.sends(Returned([1]))
    engine.turn()

    assert engine.buffered() == []
    engine.outcomes.write()
    assert expired(recorded) == [1]


def test_a_rescued_task_that_had_not_started_ends(engine: IntakeHarness, recorded: RecordedEvents):
    engine.intake.on_rescued([RescuedTask(None, task_row(1, expires=-1.0))])

    assert engine.buffered() == []
    engine.outcomes.write()
    assert expired(recorded) == [1]


def test_what_expires_in_front_of_a_worker_is_settled_and_teaches_nothing(
    engine: IntakeHarness, recorded: RecordedEvents
):
    rows = [task_row(1, expires=0.1), task_row(2, expires=0.1)]
    worker = engine.dispatch_to(0, *rows)
    worker.managed.expected_seconds = 0.1
    expected = engine.intake.run_times.expected("Letter")

    worker.sends(report([], changes=[tuple(expire(rows[0]))]))
    engine.turn()

    assert engine.pool.held() == [rows[1]]
    assert engine.intake.run_times.measured("Letter") is None
    assert worker.managed.expected_seconds == pytest.approx(0.1 - expected)
    assert engine.outcomes.write().changes == [(rows[0], expire(rows[0]))]
    assert expired(recorded) == [1]


def test_a_worker_that_expires_tasks_of_a_processor_does_not_know_it_for_that(engine: IntakeHarness):
    row = task_row(1, "Gone", expires=0.1)
    worker = engine.dispatch_to(0, row)
    engine.intake._processors.note_unregistered("Gone")

    worker.sends(report([], changes=[tuple(expire(row))]))
    engine.turn()

    assert "Gone" in engine.intake._processors.unknown


def test_a_task_that_another_manager_has_taken_has_not_expired(
    engine: IntakeHarness, recorded: RecordedEvents
):
    engine.intake.on_claimed([task_row(1, expires=-1.0)])

    engine.outcomes.write(changed=ALL_WRITTEN._replace(lost=[1]))

    assert expired(recorded) == []
    assert [event.task.id for event in recorded.of(TaskClaimLost)] == [1]


def test_an_expiry_counts_from_when_the_claim_was_sent(engine: IntakeHarness):
    rows = [task_row(1, expires=60.0), task_row(2, expires=120.0), task_row(3)]

    engine.dispatcher.take(rows, boot_clock.now() - 61)
    engine.intake.on_rescued([RescuedTask(None, row) for row in claimed_again(rows)], boot_clock.now() - 61)

    assert engine.buffered() == [12, 13, 2, 3]


def claimed_again(rows: list[TaskRow]) -> list[TaskRow]:
    return [(row[0] + 10, *row[1:]) for row in rows]


def test_a_task_whose_claim_is_long_ago_has_expired_however_many_were_claimed_since(engine: IntakeHarness):
    engine.intake.on_claimed([task_row(1, "Gone", expires=1.0)])
    expiry = boot_clock.now() + 1
    for token in range(2, CLAIMS_REMEMBERED + 3):
        engine.intake.on_claimed([task_row(token, token=token)])
    [row] = [row for row in engine.intake.buffer.rows() if row[0] == 1]

    wait_until(lambda: boot_clock.now() >= expiry)

    assert executed(row, engine.intake.claim_times.of([row]))[0].outcome == EXPIRED


def executed(row: TaskRow, claimed_at: Any = ()) -> Any:
    executor = Executor(config_of(), 0, 1, dict(claimed_at))
    executor.started = time.monotonic()
    return executor.execute(row), executor


@pytest.mark.usefixtures("own_registry", "no_subscribers")
@pytest.mark.parametrize(("seconds_ago", "runs"), [(5.0, True), (60.5, False)])
def test_a_worker_does_not_start_what_has_expired_since_the_claim(seconds_ago: float, runs: bool):
    registry.register(type("Letter", (Idle,), {}))
    row = task_row(1, token=8, expires=boot_clock.now() - seconds_ago + 60.0)

    result, executor = executed(row)

    assert executor.ended >= executor.started
    if runs:
        assert result is RAN
        return
    assert (result.outcome, result.reason) == (EXPIRED, "expired")
    assert result.change_with_history(EndedRun(1.0, 0.5, "here:17")) == expire(row)


@pytest.mark.usefixtures("own_registry", "no_subscribers")
def test_a_task_expires_whether_its_processor_is_registered_or_not():
    result, _ = executed(task_row(1, "Gone", expires=-1.0))

    assert result.outcome == EXPIRED


@pytest.mark.usefixtures("no_subscribers")
def test_a_report_has_the_change_and_no_pace_of_what_has_expired():
    pending = PendingReport("default", lambda row, started: row[WAIT], every_seconds=3600.0)
    pending.send(lambda _: None)
    row = task_row(1, expires=-1.0)
    result, executor = executed(row)

    is_due = pending.add(row, result, 0.0, executor.ended)

    sent: list[Any] = []
    pending.send(sent.append)
    assert not is_due
    assert (sent[0].changes, sent[0].measured) == ([tuple(expire(row))], {})
