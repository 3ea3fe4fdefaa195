"""Run tasks in this process and thread, without a manager and workers.

Immediate mode and ``django_partisan.testing`` use this module. A run leaves the caller's database connections
as they were; inside a transaction, the run is a savepoint.
"""

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import chain
from time import monotonic
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, IntegrityError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from django_partisan import arguments, processor_validation, registry
from django_partisan.config.problems import refuse
from django_partisan.config.queues import queue_config
from django_partisan.engine import boot_clock, expiring
from django_partisan.engine.judge import CLAIM_LOST, EXPIRED, HELD, RAN, RunResult, failed
from django_partisan.engine.task_ref import task_ref
from django_partisan.engine.worker.connection_state import drop, has_open_transaction
from django_partisan.engine.worker.executor import Executor
from django_partisan.models import Task
from django_partisan.names import DEFAULT_QUEUE
from django_partisan.outcomes import COMPLETED, FAILED, POSTPONED, REASON_UNREGISTERED, RETRIED
from django_partisan.sql import leasing
from django_partisan.sql.claiming import ARGUMENTS, ATTEMPTS, ID, PROCESSOR, TOKEN, TaskRow, claim
from django_partisan.sql.claiming_one import claim_one
from django_partisan.sql.connection import task_connection
from django_partisan.sql.history import EndedRun
from django_partisan.sql.settling import apply_changes, release
from django_partisan.sql.tokens import new_token
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import RunsCompleted, TransactionLeftOpen
from django_partisan.telemetry.events.tasks import TaskExpired
from django_partisan.telemetry.events.values import ErrorInfo, Run
from django_partisan.worker_name import worker_name

ALL_ROWS: Final = 2**31 - 1
LEASE_SECONDS: Final = 3600.0
"""The lease in seconds. It is not renewed, so a manager of the queue may rescue a task that runs longer."""


class Ran(NamedTuple):
    """The outcome of one run of a task.

    ``outcome`` is ``completed``, ``postponed``, ``retried`` or ``failed``, or ``claim_lost`` if the run
    deleted or settled its own row. ``reason`` is why a task failed, and ``delay_seconds`` is the delay before
    the task runs again.
    """

    task_id: int
    processor: str
    args: list[Any]
    kwargs: dict[str, Any]
    outcome: str
    delay_seconds: float | None = None
    reason: str | None = None
    error: ErrorInfo | None = None


class InlineManager:
    """A manager and its worker in one thread. It registers a manager row, because claims need one.

    The row is marked as not serving the queue: other managers leave its tasks alone and do not rely on it to
    serve the queue.
    """

    def __init__(self, queue_name: str = DEFAULT_QUEUE) -> None:
        """Serve a queue; raises ``UnknownQueue``, or ``WrongSetting`` when ``start_partisan`` would."""
        wrong = map(processor_validation.wrong_attributes, registry.processor_classes())
        refuse(chain.from_iterable(wrong))
        self._config = queue_config(queue_name)
        self._id = uuid.uuid4()
        self._connection = task_connection()
        self._executor = _InlineExecutor(self._config, 0, 0, {})
        self._claimed: dict[int, TaskRow] = {}
        """Claimed tasks that have not started, by id."""

    def __enter__(self) -> "InlineManager":
        # Not just the host name: a manager on this host would look for a presence file and not find one.
        leasing.register(
            self._connection,
            self._id,
            self._config.queue,
            f"{socket.gethostname()} (in place)",
            os.getpid(),
            uuid.uuid4(),
            LEASE_SECONDS,
            is_serving=False,
        )
        return self

    def __exit__(self, *error: object) -> None:
        if self._claimed:
            pairs = [(row[ID], row[TOKEN]) for row in self._claimed.values()]
            self._with_or_without_keys(lambda keep_keys: release(self._connection, pairs, keep_keys))
        leasing.deregister(self._connection, self._id)

    def claim_due(self, now: datetime | None, limit: int = ALL_ROWS) -> list[TaskRow]:
        """Claim due tasks by Python's clock; the database's clock stands still inside a transaction."""
        waiting = Task.objects.using(self._connection.alias).waiting().filter(queue_name=self._config.queue)
        waiting.filter(ready=False, held=None, execute_after__lte=now or timezone.now()).update(ready=True)
        later = 0.0 if now is None else (now - timezone.now()).total_seconds()
        since = boot_clock.now() - later  # at a later ``now``, tasks expire that much earlier
        rows = claim(self._connection, self._config.queue, self._id, new_token(), limit)
        return self._keep(rows, since)

    def claim_task(self, task_id: int) -> list[TaskRow]:
        """Claim one task; return no row if it is not waiting, not due, or locked by another transaction."""
        since = boot_clock.now()
        return self._keep(claim_one(self._connection, self._id, new_token(), task_id), since)

    def run(self, row: TaskRow, raise_errors: bool) -> Ran:
        """Run a claimed task and settle it; with ``raise_errors``, raise the error that failed the task."""
        executor = self._executor
        executor.started, executor.error = monotonic(), None
        result = self._execute(row)
        del self._claimed[row[ID]]  # if the run raised, this is not reached, and the task is released on exit
        ran = Ran(row[ID], row[PROCESSOR], *arguments.decode(row[ARGUMENTS]), CLAIM_LOST)
        if not self._loses_claim(row, result):
            delay = result.delay_seconds if result.outcome in (POSTPONED, RETRIED) else None
            outcome, reason, error = result.outcome, result.reason or None, result.error
            if outcome == EXPIRED:
                outcome, error = FAILED, expiring.ERROR
            ran = ran._replace(outcome=outcome, delay_seconds=delay, reason=reason, error=error)
        self._raise(ran, row, raise_errors)
        return ran

    def _keep(self, rows: list[TaskRow], since: float) -> list[TaskRow]:
        rows = expiring.with_deadlines(rows, since)
        self._claimed = {row[ID]: row for row in rows}
        return rows

    def _execute(self, row: TaskRow) -> RunResult:
        """Run a task; if it breaks the caller's transaction, roll back to the state before the run."""
        executor = self._executor
        left_open: list[str] = []
        with _connections_kept(left_open):
            result = executor.execute(row)
        if result.outcome == HELD:  # there is no other manager that could run it
            executor.error = registry.unknown(row[PROCESSOR])
            return failed(row, REASON_UNREGISTERED, executor.error)
        if result.outcome == EXPIRED:
            bus.emit(TaskExpired, task_ref(row, self._config.queue))
            return result
        run = executor.run_of(row)
        for database in left_open:
            bus.emit(TransactionLeftOpen, run, database)
        if result.outcome == COMPLETED:  # a worker emits this when it reports
            seconds, waits = [executor.ended - executor.started], [run.wait_seconds]
            bus.emit(RunsCompleted, run.queue, run.processor, seconds, waits, [run.attempt])
        return result

    def _loses_claim(self, row: TaskRow, result: RunResult) -> bool:
        """Settle a run; return whether its claim was lost."""
        if result is RAN or (result.result is not None and not result.is_settled):
            return bool(self._executor.settle(self._connection, row, result.result))
        if result.change is None:  # the run settled itself, or tried to
            return result.outcome == CLAIM_LOST
        executor = self._executor
        run = EndedRun(executor.started, executor.ended - executor.started, worker_name(os.getpid()))
        change = result.change_with_history(run)
        lost = self._with_or_without_keys(
            lambda keep_keys: apply_changes(self._connection, [change], keep_keys)
        )
        return bool(lost)

    def _with_or_without_keys(self, write: Any) -> list[int]:
        """Write changes that make tasks wait again; if one meets a duplicate, all lose their unique keys."""
        try:
            with transaction.atomic(using=self._connection.alias):
                return list(write(True))
        except IntegrityError:
            return list(write(False))

    def _raise(self, ran: Ran, row: TaskRow, raise_errors: bool) -> None:
        error = self._executor.error
        if error is None or not (isinstance(error, KeyboardInterrupt) or raise_errors):
            return
        if ran.outcome == FAILED or isinstance(error, KeyboardInterrupt):
            if hasattr(error, "add_note"):  # pragma: no branch: only Python 3.10 has none
                error.add_note(
                    f"Task {ran.task_id} ({ran.processor}, args {ran.args!r}, kwargs {ran.kwargs!r}) failed "
                    f"in attempt {row[ATTEMPTS] + 1}: {ran.reason}."
                )
            raise error


class _InlineExecutor(Executor):
    """An executor that keeps the exception of its last run, which a worker's executor drops."""

    error: BaseException | None = None

    def _emit(self, result: RunResult, run: Run) -> None:
        self.error = result.error.exception if result.error is not None else None
        super()._emit(result, run)


@contextmanager
def _connections_kept(left_open: list[str]) -> Iterator[None]:
    """Leave this thread's connections as they were; list the databases with a transaction left open."""
    before = list(connections.all(initialized_only=True))
    intact = [one for one in before if one.in_atomic_block and not one.needs_rollback]
    inside = [(one, len(one.savepoint_ids), len(one.atomic_blocks), one.savepoint()) for one in intact]
    busy = [one for one in before if one.connection is not None and has_open_transaction(one)]
    yield
    for one, savepoints, blocks, savepoint in inside:
        is_left_open = len(one.savepoint_ids) > savepoints
        if is_left_open:
            left_open.append(one.alias)
            del one.savepoint_ids[savepoints:], one.atomic_blocks[blocks:]
        _end_savepoint(one, savepoint, is_left_open)
    for one in connections.all(initialized_only=True):
        if one.connection is None or one in busy:
            continue
        if has_open_transaction(one):
            left_open.append(one.alias)
            drop(one)
        elif one.autocommit != one.settings_dict["AUTOCOMMIT"]:
            drop(one)


def _end_savepoint(connection: BaseDatabaseWrapper, savepoint: Any, is_left_open: bool) -> None:
    """Release a savepoint; roll back to it if a transaction was left open inside it or the release fails."""
    with suppress(DatabaseError):
        if not is_left_open:
            connection.savepoint_commit(savepoint)
            return
    connection.needs_rollback = False
    connection.savepoint_rollback(savepoint)
