"""The log events of one run: its start, its outcome, and warnings about its transactions."""

from logging import DEBUG, ERROR, INFO, WARNING
from typing import Any, Final

from django_partisan.logs.fields import (
    DURATION,
    ERROR_FIELDS,
    OUTCOME,
    REASON,
    RUN_FIELDS,
    TASK_FIELDS,
    beginning,
    id_and_processor,
    keyword,
    long,
    nanoseconds,
    of_error,
    of_one_task,
    of_run,
    quoted,
    without_none,
)
from django_partisan.logs.log_event import MANAGER, WORKER, Line, log_event
from django_partisan.telemetry import redaction
from django_partisan.telemetry.events.runs import (
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
    TaskStarted,
    TransactionLeftOpen,
    WrittenOutsideAtomic,
)
from django_partisan.telemetry.events.values import Run, TaskRef

_DELAY: Final = long("partisan.task.delay_ns")
_RUN_IF_KNOWN: Final = (
    *TASK_FIELDS,
    *(field._replace(optional=True) for field in RUN_FIELDS[len(TASK_FIELDS) :]),
)
"""The fields of a run that a worker or its manager ended; only the worker has all of them."""


@log_event(
    TaskStarted,
    "task.started",
    DEBUG,
    "Task %s (%s) started, attempt %s",
    by=(WORKER,),
    fields=RUN_FIELDS,
    when="before `run()` is called",
)
def started(event: TaskStarted) -> Line:
    return (*id_and_processor(event.run), event.run.attempt), of_run(event.run)


@log_event(
    TaskCompleted,
    "task.completed",
    INFO,
    "Task %s (%s) completed in %.3f s",
    by=(WORKER,),
    fields=(*RUN_FIELDS, DURATION, OUTCOME),
    when="the run completed; this is the canonical log line of the run",
)
def completed(event: TaskCompleted) -> Line:
    return (*id_and_processor(event.run), event.seconds), _ended(event.run, event.seconds, "success")


@log_event(
    TaskPostponed,
    "task.postponed",
    INFO,
    "Task %s (%s) postponed by %g s%s",
    by=(WORKER,),
    fields=(*RUN_FIELDS, DURATION, OUTCOME, _DELAY, REASON._replace(optional=True)),
    when="the task asked to run again later",
)
def postponed(event: TaskPostponed) -> Line:
    reason = None if event.reason is None else redaction.cut(str(event.reason), redaction.SHOWN_MAX_BYTES)
    why = "" if reason is None else f": {beginning(reason)}"
    return (*id_and_processor(event.run), event.delay_seconds, why), {
        **_ended(event.run, event.seconds, "unknown"),
        "partisan.task.delay_ns": nanoseconds(event.delay_seconds),
        **without_none({"event.reason": reason}),
    }


@log_event(
    TaskRetried,
    "task.retried",
    WARNING,
    "Task %s (%s) will be retried in %g s, %s retries left: %s",
    by=(WORKER, MANAGER),
    fields=(
        *_RUN_IF_KNOWN,
        DURATION,
        OUTCOME,
        _DELAY,
        long("partisan.task.retries_left"),
        *ERROR_FIELDS,
    ),
    when="a run raised an error that leads to a retry, and retries are left",
)
def retried(event: TaskRetried) -> Line:
    return (*id_and_processor(event.run), event.delay_seconds, event.retries_left, quoted(event.error)), {
        **_run_or_task_fields(event.run),
        "event.duration": nanoseconds(event.seconds),
        "event.outcome": "failure",
        "partisan.task.delay_ns": nanoseconds(event.delay_seconds),
        "partisan.task.retries_left": event.retries_left,
        **of_error(event.error),
    }


@log_event(
    TaskFailed,
    "task.failed",
    ERROR,
    "Task %s (%s) failed (%s): %s",
    by=(WORKER, MANAGER),
    fields=(*_RUN_IF_KNOWN, DURATION._replace(optional=True), OUTCOME, REASON, *ERROR_FIELDS),
    when="the task failed and will not run again",
)
def failed(event: TaskFailed) -> Line:
    return (*id_and_processor(event.run), event.reason, quoted(event.error)), {
        **_run_or_task_fields(event.run),
        **({} if event.seconds is None else {"event.duration": nanoseconds(event.seconds)}),
        "event.outcome": "failure",
        "event.reason": event.reason,
        **of_error(event.error),
    }


@log_event(
    TaskCancelled,
    "task.cancelled",
    INFO,
    "Task %s (%s) cancelled while it ran: %s",
    by=(WORKER, MANAGER),
    fields=(
        *TASK_FIELDS,
        *(field._replace(optional=True) for field in (*RUN_FIELDS[len(TASK_FIELDS) :], DURATION)),
        OUTCOME,
        REASON,
    ),
    when="a run ended because its task was cancelled; the task will not run again",
)
def cancelled(event: TaskCancelled) -> Line:
    reason = redaction.cut(event.error.message, redaction.SHOWN_MAX_BYTES)
    return (*id_and_processor(event.run), beginning(reason)), {
        **_run_or_task_fields(event.run),
        **({} if event.seconds is None else {"event.duration": nanoseconds(event.seconds)}),
        "event.outcome": "unknown",
        "event.reason": reason,
    }


@log_event(
    TransactionLeftOpen,
    "task.transaction_left_open",
    WARNING,
    "Task %s (%s) left a transaction open on the database %r; %s",
    by=(WORKER,),
    fields=(*RUN_FIELDS, keyword("partisan.database.alias"), keyword("partisan.thread.name", optional=True)),
    when="a run left a transaction open, which was rolled back or is still open in another thread",
)
def transaction_left_open(event: TransactionLeftOpen) -> Line:
    what = "it was rolled back" if event.thread is None else f"thread {event.thread!r} still has it open"
    return (*id_and_processor(event.run), event.database, what), {
        **of_run(event.run),
        "partisan.database.alias": event.database,
        **without_none({"partisan.thread.name": event.thread}),
    }


@log_event(
    WrittenOutsideAtomic,
    "task.written_outside_atomic",
    WARNING,
    "Task %s (%s) is ATOMIC, but the thread %r wrote through its own connection, "
    "outside the transaction of the task",
    by=(WORKER,),
    fields=(*RUN_FIELDS, keyword("partisan.thread.name")),
    when="during a run with `ATOMIC`, another thread wrote to the database of the tasks",
)
def written_outside_atomic(event: WrittenOutsideAtomic) -> Line:
    return (*id_and_processor(event.run), event.thread), {
        **of_run(event.run),
        "partisan.thread.name": event.thread,
    }


def _run_or_task_fields(run: Run | TaskRef) -> dict[str, Any]:
    return of_run(run) if isinstance(run, Run) else of_one_task(run)


def _ended(run: Run, seconds: float, outcome: str) -> dict[str, Any]:
    values = of_run(run)
    values["event.duration"] = nanoseconds(seconds)
    values["event.outcome"] = outcome
    return values
