"""Run tasks inside a test: in its process and its transaction, without a manager and its workers.

    from django_partisan.testing import drain, run_pending

    class LetterTest(TestCase):
        def test_a_letter_is_sent(self):
            Letter("Ada").delay()

            [ran] = run_pending()

            assert ran.outcome == "completed"
            assert len(mail.outbox) == 1

Tasks run as they do in a worker, so an exception of a task is not raised here but in its outcome.
Callbacks of ``on_commit()`` run only where there is a commit: in Django's ``TestCase`` use
``captureOnCommitCallbacks(execute=True)``.
"""

import os
import uuid
from datetime import datetime
from itertools import chain
from time import monotonic
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, IntegrityError, connections, transaction
from django.utils import timezone

from django_partisan import arguments, processor_validation, registry
from django_partisan.config.problems import refuse
from django_partisan.config.queues import queue_config
from django_partisan.engine.worker.executor import Executor
from django_partisan.engine.worker.judge import CLAIM_LOST, HELD, RAN, RunResult, failed
from django_partisan.models import Task
from django_partisan.names import DEFAULT_QUEUE
from django_partisan.outcomes import POSTPONED, REASON_UNREGISTERED, RETRIED
from django_partisan.sql import leasing
from django_partisan.sql.claiming import ARGUMENTS, ID, PROCESSOR, TaskRow, claim
from django_partisan.sql.connection import task_database
from django_partisan.sql.history import EndedRun
from django_partisan.sql.settling import apply_changes
from django_partisan.sql.tokens import new_token
from django_partisan.telemetry.events import ErrorInfo
from django_partisan.worker_name import worker_name

_ALL_ROWS: Final = 2**31 - 1


class Ran(NamedTuple):
    """One run of a task and its outcome.

    ``outcome`` is ``completed``, ``postponed``, ``retried`` or ``failed``, or ``claim_lost`` if the run
    deleted or settled its own row. ``reason`` says why a task failed, ``delay_seconds`` when it runs again.
    """

    task_id: int
    processor: str
    args: list[Any]
    kwargs: dict[str, Any]
    outcome: str
    delay_seconds: float | None = None
    reason: str | None = None
    error: ErrorInfo | None = None


def run_pending(queue: str = DEFAULT_QUEUE, *, now: datetime | None = None) -> list[Ran]:
    """Run each task that is due now once, in the order of a manager, and return the runs.

    Tasks that they enqueue wait for the next call. ``now`` is another time to assume: tasks scheduled
    up to it are due. Raises ``UnknownQueue``, and ``WrongSetting`` for a wrong attribute of a processor.
    """
    with _InlineManager(queue) as manager:
        return [manager.run(row) for row in manager.claim(now, _ALL_ROWS)]


def drain(queue: str = DEFAULT_QUEUE, *, now: datetime | None = None, at_most: int = 1000) -> list[Ran]:
    """Run tasks until none is due, including those that tasks enqueue, and return the runs.

    If ``now`` is in the future, tasks that were postponed or retried up to it run again. Raises
    ``AssertionError`` if tasks are still due after ``at_most`` runs, and the errors of ``run_pending()``.
    """
    ran: list[Ran] = []
    with _InlineManager(queue) as manager:
        while rows := manager.claim(now, 1):
            ran.append(manager.run(rows[0]))
            if len(ran) > at_most:
                last = ran[-1]
                raise AssertionError(
                    f"Tasks of queue {queue!r} are still due after {at_most} runs; the last was "
                    f"{last.processor} with args {last.args!r}, kwargs {last.kwargs!r}: {last.outcome}."
                )
    return ran


class _InlineManager:
    """A manager and its worker in the process of the test; claims need a manager's row."""

    def __init__(self, queue: str) -> None:
        wrong = map(processor_validation.wrong_attributes, registry.processor_classes())
        refuse(chain.from_iterable(wrong))  # as start_partisan
        self._config = queue_config(queue)
        self._id = uuid.uuid4()
        self._connection = connections[task_database()]
        self._executor = Executor(self._config, 0, 0, {})

    def __enter__(self) -> "_InlineManager":
        leasing.register(
            self._connection, self._id, self._config.queue, "test", 0, uuid.uuid4(), lease_seconds=3600.0
        )
        return self

    def __exit__(self, *error: object) -> None:
        leasing.deregister(self._connection, self._id)

    def claim(self, now: datetime | None, limit: int) -> list[TaskRow]:
        """Claim due tasks by Python's clock: the database's stands still inside a transaction."""
        waiting = Task.objects.using(self._connection.alias).waiting().filter(queue_name=self._config.queue)
        waiting.filter(ready=False, held=None, execute_after__lte=now or timezone.now()).update(ready=True)
        return claim(self._connection, self._config.queue, self._id, new_token(), limit)

    def run(self, row: TaskRow) -> Ran:
        """Run a claimed task and settle it."""
        self._executor.started = monotonic()
        result = self._execute(row)
        ran = Ran(row[ID], row[PROCESSOR], *arguments.decode(row[ARGUMENTS]), CLAIM_LOST)
        if self._loses_claim(row, result):
            return ran
        delay = result.delay_seconds if result.outcome in (POSTPONED, RETRIED) else None
        return ran._replace(
            outcome=result.outcome, delay_seconds=delay, reason=result.reason or None, error=result.error
        )

    def _execute(self, row: TaskRow) -> RunResult:
        """Run a task; where it leaves the test's transaction broken, roll back to before the run."""
        connection = self._connection
        savepoint = connection.savepoint() if connection.in_atomic_block else None
        result = self._executor.execute(row)
        if result.outcome == HELD:  # no other manager could run it
            result = failed(row, REASON_UNREGISTERED, registry.unknown(row[PROCESSOR]))
        if savepoint is not None:
            try:
                connection.savepoint_commit(savepoint)
            except DatabaseError:
                connection.needs_rollback = False
                connection.savepoint_rollback(savepoint)
        return result

    def _loses_claim(self, row: TaskRow, result: RunResult) -> bool:
        """Settle a run; return whether its claim was lost."""
        if result is RAN or (result.result is not None and not result.is_settled):
            return bool(self._executor.settle(self._connection, row, result.result))
        if result.change is None:  # it settled itself, or tried to
            return result.outcome == CLAIM_LOST
        executor = self._executor
        run = EndedRun(executor.started, executor.ended - executor.started, worker_name(os.getpid()))
        change = result.described(run)
        try:
            with transaction.atomic(using=self._connection.alias):
                return bool(apply_changes(self._connection, [change]))
        except IntegrityError:  # it waits again beside a duplicate: both stay, and it gives up its key
            return bool(apply_changes(self._connection, [change], keep_keys=False))
