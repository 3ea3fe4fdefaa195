"""A processor with ``ATOMIC`` writes and completes in one transaction, or does neither."""

import time

import pytest
from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import registry
from django_partisan.engine.interrupting import TIMEOUT
from django_partisan.engine.judge import CLAIM_LOST, RunResult
from django_partisan.engine.protocol import Interrupt
from django_partisan.engine.worker.executor import Executor
from django_partisan.engine.worker.interruption import Interruption
from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.claiming import ID, TaskRow
from django_partisan.telemetry.events.runs import TaskCompleted
from tests.app.models import Note
from tests.support.engine import config_of
from tests.support.rows import claimed, statuses_of

pytestmark = pytest.mark.django_db(transaction=True)


class Letter(BaseTaskProcessor):
    ATOMIC = True

    interruption = Interruption()

    def run(self) -> None:
        Note.objects.create(text="written")
        if self.args == ("asked",):
            self.interruption.requested = Interrupt(self.interruption.run_number, TIMEOUT, "too long")
        if self.args == ("fail",):
            raise ValueError("no ink")
        if self.args == ("break",):
            with transaction.atomic():
                transaction.set_rollback(True)
            transaction.set_rollback(True)


def execute(row: TaskRow, **settings: bool) -> RunResult:
    registry.register(Letter)
    executor = Executor(config_of(**settings), 0, 1, {})
    executor.started = time.monotonic()
    return executor.execute(row)


@pytest.mark.parametrize(("delete", "status"), [(False, "finished"), (True, None)])
def test_its_writes_and_its_completion_are_committed_together(delete, status, recorded_events):
    [row] = claimed()

    assert execute(row, delete_tasks_on_complete=delete) == RunResult(is_settled=True)
    assert statuses_of(row[ID]) == [status]
    assert Note.objects.count() == 1
    assert [event.run.id for event in recorded_events.of(TaskCompleted)] == [row[ID]]


@pytest.mark.parametrize(
    ("how", "error"),
    [("fail", "ValueError"), ("break", "django.db.transaction.TransactionManagementError")],
)
def test_after_an_error_nothing_of_it_is_written_and_the_outcome_is_for_the_manager(how, error):
    [row] = claimed(arguments=f'{{"args": ["{how}"], "kwargs": {{}}}}')

    result = execute(row)

    assert result.error is not None
    assert result.error.type == error
    assert statuses_of(row[ID]) == ["in_process"]
    assert not Note.objects.exists()


def test_under_a_claim_that_was_lost_nothing_is_written(recorded_events):
    [row] = claimed()
    Task.objects.update(claim_token=row[-1] + 1)

    assert execute(row) == RunResult(CLAIM_LOST)
    assert statuses_of(row[ID]) == ["in_process"]
    assert not Note.objects.exists()
    assert recorded_events.of(TaskCompleted) == []


def test_a_refused_commit_fails_the_run_and_undoes_its_completion(monkeypatch):
    [row] = claimed()

    def refuse(self: object) -> None:
        raise DatabaseError("refused at the commit")

    monkeypatch.setattr(BaseDatabaseWrapper, "commit", refuse)
    result = execute(row)
    monkeypatch.undo()

    assert result.error is not None
    assert result.error.message == "refused at the commit"
    assert statuses_of(row[ID]) == ["in_process"]


def test_a_run_that_was_asked_to_end_while_it_returned_commits_if_it_was_not_cancelled():
    [row] = claimed(arguments='{"args": ["asked"], "kwargs": {}}')
    registry.register(Letter)
    Letter.interruption = Interruption()
    executor = Executor(config_of(), 0, 1, {}, interruption=Letter.interruption)
    executor.started = time.monotonic()

    assert executor.execute(row) == RunResult(is_settled=True)
    assert Note.objects.count() == 1
