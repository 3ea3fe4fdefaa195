"""Run tasks inside a test: in its process and its transaction, without a manager and its workers.

    from django_partisan.testing import drain, run_pending

    class LetterTest(TestCase):
        def test_a_letter_is_sent(self):
            Letter("Ada").delay()

            [ran] = run_pending()

            assert ran.outcome == "completed"
            assert len(mail.outbox) == 1

Tasks run as they do in a worker, so what they raise is not raised here but told as their outcome.
What they ask to be done after a commit is done only where there is one: Django's ``TestCase`` has
``captureOnCommitCallbacks(execute=True)``.
"""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_partisan import arguments
from django_partisan.config.queues import DEFAULT_QUEUE, queue_config
from django_partisan.engine.worker.executor import Executor
from django_partisan.engine.worker.run_result import CLAIM_LOST, RAN
from django_partisan.models import Task
from django_partisan.outcomes import POSTPONED, RETRIED
from django_partisan.sql import leasing
from django_partisan.sql.claiming import ARGUMENTS, ID, PROCESSOR, TOKEN, TaskRow, claim
from django_partisan.sql.connection import task_database
from django_partisan.sql.settling import RowChange, apply_changes, settle_completed
from django_partisan.telemetry.events import ErrorInfo

RUNS_MAX: Final = 1000
_ALL_ROWS: Final = 2**31 - 1
_LEASE_SECONDS: Final = 3600.0


class Ran(NamedTuple):
    """One run: of which task, and what came of it.

    ``outcome`` is ``completed``, ``postponed``, ``retried`` or ``failed`` (or ``claim_lost``, if the
    run itself took its row away); ``reason`` says why a task failed, ``delay_seconds`` when it runs again.
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
    """Run each task that is due now once, in the order of a manager, and return what came of them.

    What they enqueue stays for the next call. ``now`` plays another time: tasks scheduled up to it
    are due. Raises ``UnknownQueue``.
    """
    with _Stage(queue) as stage:
        return [stage.run(row) for row in stage.claim(now, _ALL_ROWS)]


def drain(queue: str = DEFAULT_QUEUE, *, now: datetime | None = None, at_most: int = RUNS_MAX) -> list[Ran]:
    """Run tasks until none is due, those that tasks enqueue included, and return what came of them.

    With a ``now`` that lies ahead, tasks that were postponed or retried up to it run again. Raises
    ``AssertionError`` if tasks are still due after ``at_most`` runs, and ``UnknownQueue``.
    """
    with _Stage(queue) as stage:
        ran: list[Ran] = []
        while rows := stage.claim(now, 1):
            ran.append(stage.run(rows[0]))
            if len(ran) > at_most:
                last = ran[-1]
                raise AssertionError(
                    f"Tasks of queue {queue!r} are still due after {at_most} runs; the last was "
                    f"{last.processor} with args {last.args!r}, kwargs {last.kwargs!r}: {last.outcome}."
                )
        return ran


class _Stage:
    """A manager and its worker in one, for as long as the ``with`` block lasts."""

    def __init__(self, queue: str) -> None:
        self._config = queue_config(queue)
        self._queue = queue
        self._id = uuid.uuid4()
        self._connection = connections[task_database()]
        self._executor = Executor(self._config, 0, 0, {})

    def __enter__(self) -> "_Stage":
        host, pid = socket.gethostname(), os.getpid()
        leasing.register(self._connection, self._id, self._queue, host, pid, uuid.uuid4(), _LEASE_SECONDS)
        return self

    def __exit__(self, *error: object) -> None:
        leasing.resign(self._connection, self._id)

    def claim(self, now: datetime | None, limit: int) -> list[TaskRow]:
        """Claim due tasks by Python's clock: the database's stands still inside a transaction."""
        scheduled = Task.objects.using(self._connection.alias).waiting().filter(queue_name=self._queue)
        scheduled.filter(ready=False, execute_after__lte=now or timezone.now()).update(ready=True)
        return claim(self._connection, self._queue, self._id, limit)

    def run(self, row: TaskRow) -> Ran:
        with _errors_contained(self._connection):
            result = self._executor.execute(row)
        lost: list[int] = []
        if result is RAN:
            pairs = [(row[ID], row[TOKEN])]
            lost = settle_completed(self._connection, pairs, self._config.delete_tasks_on_complete)
        elif result.change is not None:
            lost = self._settle(result.change)
        args, kwargs = arguments.decode(row[ARGUMENTS])
        if lost:
            return Ran(row[ID], row[PROCESSOR], args, kwargs, CLAIM_LOST)
        runs_again = result.outcome in (POSTPONED, RETRIED)
        return Ran(
            row[ID],
            row[PROCESSOR],
            args,
            kwargs,
            result.outcome,
            result.delay_seconds if runs_again else None,
            result.reason or None,
            result.error,
        )

    def _settle(self, change: RowChange) -> list[int]:
        try:
            with transaction.atomic(using=self._connection.alias):
                return apply_changes(self._connection, [change])
        except IntegrityError:  # it waits again and meets a duplicate: both stay, and it gives up its key
            return apply_changes(self._connection, [change], keep_keys=False)


@contextmanager
def _errors_contained(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Keep the test's transaction usable where a run leaves it broken; a worker's run has none around it."""
    savepoint = connection.savepoint() if connection.in_atomic_block else None
    yield
    if savepoint is None:
        return
    try:
        connection.savepoint_commit(savepoint)
    except DatabaseError:
        connection.needs_rollback = False
        connection.savepoint_rollback(savepoint)
