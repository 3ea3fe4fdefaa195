"""Run one task: look up its definition, decode its arguments, call it, judge the result and emit events.

The worker's main thread uses it. An executor serves one thread, and keeps nothing between two runs except
their times.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from contextvars import copy_context
from time import monotonic
from typing import Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import arguments, registry, results
from django_partisan.config.queues import QueueConfig
from django_partisan.definitions import TaskDefinition
from django_partisan.engine.expiring import has_expired
from django_partisan.engine.judge import RAN, RETURNED_NONE, RunResult, expired, failed, judge, unregistered
from django_partisan.engine.worker import children
from django_partisan.engine.worker.interruption import Interruption
from django_partisan.exceptions import ClaimLost, TaskCancelled, TaskTimeout
from django_partisan.outcomes import COMPLETED, FAILED, POSTPONED, REASON_CANCELLED, REASON_ERROR, RETRIED
from django_partisan.processor import CurrentTask
from django_partisan.sql.claiming import (
    ARGUMENTS,
    ATTEMPTS,
    CONTEXT,
    EXPIRES,
    ID,
    POSTPONES,
    PRIORITY,
    PROCESSOR,
    RETRIES,
    TOKEN,
    WAIT,
    TaskRow,
)
from django_partisan.sql.connection import task_database
from django_partisan.sql.history import EndedRun
from django_partisan.sql.row_changes import STATUS_NEW, RowChange, microseconds
from django_partisan.sql.settling import apply_changes, delete_completed, finish_completed
from django_partisan.telemetry import bus, swallowed, task_context
from django_partisan.telemetry.current_task import running
from django_partisan.telemetry.events.runs import TaskCancelled as RunCancelled
from django_partisan.telemetry.events.runs import (
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
    TaskStarted,
)
from django_partisan.telemetry.events.scopes import Running
from django_partisan.telemetry.events.values import ErrorInfo, Run
from django_partisan.worker_name import worker_name


class Executor:
    """Runs tasks, one at a time."""

    def __init__(
        self,
        config: QueueConfig,
        slot: int,
        generation: int,
        claim_times: Mapping[int, float],
        schema: str = "",
        interruption: Interruption | None = None,
        registered: Callable[[], object] = lambda: None,
    ) -> None:
        """Run tasks for a worker; ``claim_times`` maps claim tokens to the times of the claims.

        ``schema`` is where the completion of an ``ATOMIC`` task is written, whatever ``search_path`` the task
        has set. Without an ``interruption``, runs are never interrupted. ``registered`` is called before a
        run if definitions were registered or replaced since the run before.
        """
        self._interruption = interruption or Interruption()
        self._schema = schema
        self._config = config
        self._slot = slot
        self._generation = generation
        self._claim_times = claim_times
        self._registered = registered
        self._version = 0
        """The version of the registry at the last run."""
        self._worker = worker_name(os.getpid())
        # Monotonic times of the last run. The worker sets ``started``, since it reads the clock anyway.
        self.started = self.ended = 0.0

    def execute(self, row: TaskRow) -> RunResult:
        """Run a task in its own context and return its result; never raises.

        A task that has expired, or whose processor is not registered here, does not start: no event is
        emitted, and nothing is counted.
        """
        if row[EXPIRES] is not None and has_expired(row):
            self.ended = monotonic()
            return expired(row)
        definition = registry.find(row[PROCESSOR])
        if definition is None:
            try:
                definition = registry.find_or_import(row[PROCESSOR])
            except BaseException as error:  # from the task's module, including SystemExit
                return self._failed_before_run(row, error)
            if definition is None:
                self.ended = monotonic()
                return unregistered(row)
        if registry.version != self._version:
            self._version = registry.version
            self._registered()
        context = copy_context()
        if row[CONTEXT] is not None or bus.each_run_is_watched:
            result = context.run(self._run_with_events, row, definition)
        else:
            result = context.run(self._run, row, definition)
            if result is RAN:
                return result
            if result.outcome != COMPLETED:  # if a subscriber wanted this event, the run would be watched
                context.run(self._emit, result, self.run_of(row))
        if definition.ended is not None and result.outcome in (COMPLETED, FAILED):
            context.run(self._call_ended, definition.ended, context[running], result)
        return result if result.error is None else _without_exception(result, result.error)

    def _call_ended(self, ended: Callable[..., None], task: CurrentTask, result: RunResult) -> None:
        """Call the user's code for the end of a task; its errors do not change the outcome."""
        try:
            ended(task, result.result, result.error)
        except BaseException as error:  # including a receiver's SystemExit
            children.end_if_child(error)
            swallowed.swallow("signals")

    def _failed_before_run(self, row: TaskRow, error: BaseException) -> RunResult:
        """Return the result of a task whose code could not be loaded."""
        children.end_if_child(error)
        self.ended = monotonic()
        result = failed(row, REASON_ERROR, error)
        assert result.error is not None
        copy_context().run(self._emit, result, self.run_of(row))
        return _without_exception(result, result.error)

    def wait_of(self, row: TaskRow, started: float) -> float:
        """Return for how many seconds a task had been due when its run started.

        The database measures the time until the claim; the time since then is measured by our own clock.
        """
        return max(0.0, row[WAIT] + started - self._claim_times.get(row[TOKEN], started))

    def run_of(self, row: TaskRow) -> Run:
        """Return the description of this run for events."""
        return Run(
            row[ID],
            row[PROCESSOR],
            self._config.queue,
            row[PRIORITY],
            row[ATTEMPTS] + 1,
            row[RETRIES],
            row[POSTPONES],
            self._slot,
            self._generation,
            self.wait_of(row, self.started),
            None if row[CONTEXT] is None else task_context.decoded(row[CONTEXT]),
            row[ARGUMENTS],
        )

    def settle(self, connection: BaseDatabaseWrapper, row: TaskRow, result: str | None = None) -> list[int]:
        """Write the completion of the run now; return the task's id in a list if the claim was lost."""
        if self._config.delete_tasks_on_complete and result is None:
            return delete_completed(connection, [(row[ID], row[TOKEN])], schema=self._schema)
        if row[ATTEMPTS]:
            run = EndedRun(self.started, monotonic() - self.started, self._worker)
            change = RowChange.complete(row[ID], row[TOKEN], run, result)
            return apply_changes(connection, [change], schema=self._schema)
        kept = row[ID], row[TOKEN], microseconds(self.started), self._worker, result
        return finish_completed(connection, [kept], schema=self._schema)

    def _run_with_events(self, row: TaskRow, definition: TaskDefinition) -> RunResult:
        run, task = self.run_of(row), CurrentTask(row, definition, self._config.queue)
        running.set(task)
        is_surrounded = row[CONTEXT] is not None or bus.each_run_is_surrounded
        scope = Running(run, definition.propagation)
        with bus.around(scope) if is_surrounded else nullcontext():
            bus.emit(TaskStarted, run)
            result = self._run(row, definition, task)
            self._emit(result, run)
            return _with_headers(result) if is_surrounded else result

    def _run(self, row: TaskRow, definition: TaskDefinition, task: CurrentTask | None = None) -> RunResult:
        """Run a task; if ``task`` is given, it is already set in the context."""
        if task is None:
            task = CurrentTask(row, definition, self._config.queue)
            running.set(task)
        interruption = self._interruption
        try:
            try:
                args, kwargs = arguments.decode(row[ARGUMENTS])
                if definition.atomic:
                    return self._call_and_settle(row, definition, args, kwargs, task)
                interruption.interruptible = interruption.run_number
                value = definition.call(args, kwargs, task)  # like children.call(), without that extra call
                interruption.interruptible = 0
                if children.is_child:
                    children.end_if_child()  # pragma: no cover: child process
                if interruption.requested is not None:
                    interruption.ensure_not_cancelled()
                if not definition.keeps_result:
                    return RAN
                if value is None:
                    return RETURNED_NONE
                return RunResult(result=results.encode(definition.name, value))
            except BaseException as error:  # a SystemExit raised by the task fails the task, not the worker
                interruption.interruptible = 0
                children.end_if_child(error)
                deciding = error if interruption.requested is None else interruption.deciding_error(error)
                return judge(deciding, row, definition, self._config, task)
        except (
            TaskTimeout,
            TaskCancelled,
        ) as error:  # Python 3.10 may raise it where `except` begins
            interruption.interruptible = 0
            return judge(interruption.deciding_error(error), row, definition, self._config, task)
        finally:
            self.ended = monotonic()

    def _call_and_settle(
        self,
        row: TaskRow,
        definition: TaskDefinition,
        args: list[Any],
        kwargs: dict[str, Any],
        task: CurrentTask,
    ) -> RunResult:
        """Call and settle in one transaction: the task's writes and its completion are committed together."""
        database, interruption = task_database(), self._interruption
        with transaction.atomic(using=database):
            try:
                interruption.interruptible = interruption.run_number
                value = children.call(definition.call, args, kwargs, task)
            finally:
                interruption.interruptible = 0  # from here on the transaction may commit or roll back
            if interruption.requested is not None:
                interruption.ensure_not_cancelled(is_to_commit=True)
            result = results.encode(definition.name, value) if definition.keeps_result else None
            if self.settle(connections[database], row, result):
                raise ClaimLost(
                    f"Task {row[ID]} was taken over while it ran; its transaction is rolled back."
                )
        return RunResult(is_settled=True, result=result)

    def _emit(self, result: RunResult, run: Run) -> None:
        seconds = self.ended - self.started
        if result.outcome == COMPLETED:
            bus.emit(TaskCompleted, run, seconds)
        elif result.outcome == POSTPONED:
            bus.emit(TaskPostponed, run, seconds, result.delay_seconds, result.comment)
        elif result.error is None:
            return  # the claim was lost: the run has no outcome
        elif result.outcome == RETRIED:
            bus.emit(TaskRetried, run, seconds, result.delay_seconds, result.retries_left, result.error)
        elif result.reason == REASON_CANCELLED:
            bus.emit(RunCancelled, run, seconds, result.error)
        else:
            bus.emit(TaskFailed, run, seconds, result.reason, result.error)


def _without_exception(result: RunResult, error: ErrorInfo) -> RunResult:
    """Drop the exception to free the frames of the run and what they hold, such as cursors."""
    return result._replace(error=error._replace(exception=None))


def _with_headers(result: RunResult) -> RunResult:
    """Add to a task that runs again the headers that subscribers want stored with it."""
    change = result.change
    if change is None or change.status != STATUS_NEW or not (headers := bus.headers()):
        return result
    return result._replace(change=change._replace(context=json.dumps(headers)))
