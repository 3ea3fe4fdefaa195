"""The log events of single tasks. To add a log event, here, in ``queue_events`` or in ``process_events``:

1. Add the event to ``telemetry/events.py``: its class, and its name in ``Event``.
2. Add one function below ``@log_event``, which declares action, level, message, roles, fields and occasion.
   The function returns the arguments of the message and the values of the fields; an optional field may be
   left out.

The table in ``docs/observability.md`` and the mappings for Elasticsearch are made of these declarations
(``make tables``). The tests of the table name what is missing: the row of the contract, and a sample.
"""

from logging import DEBUG, ERROR, INFO, WARNING
from typing import Any, Final

from django_partisan.logs import fields
from django_partisan.logs.fields import (
    DURATION,
    OUTCOME,
    QUEUE,
    REASON,
    Field,
    beginning,
    counted,
    keyword,
    known,
    long,
    named,
    nanoseconds,
    of_failure,
    of_one_task,
    of_run,
    of_task,
    quoted,
)
from django_partisan.logs.log_event import APP, MANAGER, WORKER, Line, LowerLevel, log_event
from django_partisan.outcomes import REASON_CANCELLED, REASON_STOPPED
from django_partisan.telemetry import events, redaction

COMPLETED: Final = "Task %s (%s) completed in %.3f s"
_DELAY: Final = long("partisan.task.delay_ns")
_IN_BULK: Final = LowerLevel(DEBUG, lambda event: event.in_bulk)
_INTERRUPTED: Final = (
    *fields.OF_ONE_TASK,
    *(field for field in fields.WORKER_FIELDS if field is not QUEUE),
    DURATION,
    REASON,
)
_RUN_IF_KNOWN: Final = (
    *fields.TASK,
    *(field._replace(optional=True) for field in fields.RUN[len(fields.TASK) :]),
)
"""The fields of a run that a worker or its manager ended."""


@log_event(
    events.TaskEnqueued,
    "task.enqueued",
    INFO,
    "Task %s (%s) enqueued%s",
    by=(APP, WORKER),
    fields=(
        *fields.TASK,
        Field("partisan.task.due_at", "date"),
        Field("partisan.task.scheduled", "boolean"),
        fields.ARGUMENTS,
    ),
    when="after commit; never for a rolled-back row; at debug for `bulk_delay()`",
    lower=_IN_BULK,
)
def enqueued(event: events.TaskEnqueued) -> Line:
    due_at = event.due_at.isoformat()
    return (*named(event.task), f", due at {due_at}" if event.scheduled else ""), {
        **of_task(event.task),
        "partisan.task.due_at": due_at,
        "partisan.task.scheduled": event.scheduled,
        **fields.of_arguments(event.arguments),
    }


@log_event(
    events.TaskDeduplicated,
    "task.deduplicated",
    INFO,
    "Task %s (%s) is already waiting; no duplicate enqueued",
    by=(APP, WORKER),
    fields=fields.TASK,
    when="a waiting duplicate was found; it is the task named; at debug for `bulk_delay()`",
    lower=_IN_BULK,
)
def deduplicated(event: events.TaskDeduplicated) -> Line:
    return named(event.task), of_task(event.task)


@log_event(
    events.TasksEnqueued,
    "task.bulk_enqueued",
    INFO,
    "Enqueued %s of %s%s",
    by=(APP, WORKER),
    fields=(
        QUEUE._replace(optional=True),
        keyword("partisan.processor", optional=True),
        long("partisan.enqueue.count"),
        long("partisan.enqueue.deduplicated"),
    ),
    when="after the commit of a `bulk_delay()`: one line for all its tasks",
)
def bulk_enqueued(event: events.TasksEnqueued) -> Line:
    waited = f", {event.deduplicated} {'was' if event.deduplicated == 1 else 'were'} waiting already"
    processor = event.processor or "several processors"
    return (counted(event.number), processor, waited if event.deduplicated else ""), {
        **known({"partisan.queue.name": event.queue, "partisan.processor": event.processor}),
        "partisan.enqueue.count": event.number,
        "partisan.enqueue.deduplicated": event.deduplicated,
    }


@log_event(
    events.TaskEnqueueFailed,
    "task.enqueue_failed",
    ERROR,
    "Could not enqueue a task of %s: %s",
    by=(APP, WORKER),
    fields=(
        QUEUE,
        keyword("partisan.processor", optional=True),
        long("partisan.task.priority", optional=True),
        long("partisan.task.attempt"),
        long("partisan.task.retries"),
        long("partisan.task.postpones"),
        OUTCOME,
        *fields.ERROR,
    ),
    when="the insert raised; there is no task, so no id",
)
def enqueue_failed(event: events.TaskEnqueueFailed) -> Line:
    processor = event.processor or "several processors"
    return (processor, quoted(event.error)), {
        "partisan.queue.name": event.queue,
        **known({"partisan.processor": event.processor or None, "partisan.task.priority": event.priority}),
        "partisan.task.attempt": 1,
        "partisan.task.retries": 0,
        "partisan.task.postpones": 0,
        "event.outcome": "failure",
        **fields.of_error(event.error),
    }


@log_event(
    events.TasksClaimed,
    "task.claimed",
    DEBUG,
    "Claimed %s in %.3f s",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.claim.count"), keyword("partisan.claim.task_ids"), DURATION),
    when="a claim found rows: one line for all of them, at most 100 of them named",
)
def claimed(event: events.TasksClaimed) -> Line:
    return (counted(event.number), event.seconds), {
        "partisan.queue.name": event.queue,
        "partisan.claim.count": event.number,
        "partisan.claim.task_ids": [str(task_id) for task_id in event.task_ids[: fields.IDS_MAX]],
        "event.duration": nanoseconds(event.seconds),
    }


@log_event(
    events.TaskStarted,
    "task.started",
    DEBUG,
    "Task %s (%s) started, attempt %s",
    by=(WORKER,),
    fields=fields.RUN,
    when="before `run()`",
)
def started(event: events.TaskStarted) -> Line:
    return (*named(event.run), event.run.attempt), of_run(event.run)


@log_event(
    events.TaskCompleted,
    "task.completed",
    INFO,
    COMPLETED,
    by=(WORKER,),
    fields=(*fields.RUN, DURATION, OUTCOME),
    when="the run ended well: the canonical line",
)
def completed(event: events.TaskCompleted) -> Line:
    return (*named(event.run), event.seconds), _ended(event.run, event.seconds, "success")


@log_event(
    events.TaskPostponed,
    "task.postponed",
    INFO,
    "Task %s (%s) postponed by %g s%s",
    by=(WORKER,),
    fields=(*fields.RUN, DURATION, OUTCOME, _DELAY, REASON._replace(optional=True)),
    when="the task asked to run again later",
)
def postponed(event: events.TaskPostponed) -> Line:
    reason = None if event.reason is None else redaction.cut(str(event.reason), redaction.SHOWN_MAX_BYTES)
    why = "" if reason is None else f": {beginning(reason)}"
    return (*named(event.run), event.delay_seconds, why), {
        **_ended(event.run, event.seconds, "unknown"),
        "partisan.task.delay_ns": nanoseconds(event.delay_seconds),
        **known({"event.reason": reason}),
    }


@log_event(
    events.TaskRetried,
    "task.retried",
    WARNING,
    "Task %s (%s) runs again in %g s, %s retries left: %s",
    by=(WORKER, MANAGER),
    fields=(
        *_RUN_IF_KNOWN,
        DURATION,
        OUTCOME,
        _DELAY,
        long("partisan.task.retries_left"),
        *fields.ERROR,
    ),
    when="an error on the processor's list, and retries are left",
)
def retried(event: events.TaskRetried) -> Line:
    return (*named(event.run), event.delay_seconds, event.retries_left, quoted(event.error)), {
        **_of_either(event.run),
        "event.duration": nanoseconds(event.seconds),
        "event.outcome": "failure",
        "partisan.task.delay_ns": nanoseconds(event.delay_seconds),
        "partisan.task.retries_left": event.retries_left,
        **fields.of_error(event.error),
    }


@log_event(
    events.TaskFailed,
    "task.failed",
    ERROR,
    "Task %s (%s) failed (%s): %s",
    by=(WORKER, MANAGER),
    fields=(*_RUN_IF_KNOWN, DURATION._replace(optional=True), OUTCOME, REASON, *fields.ERROR),
    when="the task failed and will not run again",
)
def failed(event: events.TaskFailed) -> Line:
    run = event.run
    return (*named(run), event.reason, quoted(event.error)), {
        **_of_either(run),
        **({} if event.seconds is None else {"event.duration": nanoseconds(event.seconds)}),
        "event.outcome": "failure",
        "event.reason": event.reason,
        **fields.of_error(event.error),
    }


@log_event(
    events.RunInterrupted,
    "task.interrupted",
    WARNING,
    "Task %s (%s) interrupted after %.3f s (%s)",
    by=(MANAGER,),
    fields=(*_INTERRUPTED, keyword("partisan.interrupt.comment", optional=True)),
    when="a run was interrupted, for its time limit or because its task was cancelled; info if cancelled",
    lower=LowerLevel(INFO, lambda event: event.reason == REASON_CANCELLED),
)
def interrupted(event: events.RunInterrupted) -> Line:
    comment = redaction.cut(event.comment, redaction.SHOWN_MAX_BYTES) or None
    return (*named(event.task), event.seconds, event.reason), {
        **_of_interrupted(event),
        **known({"partisan.interrupt.comment": comment}),
    }


@log_event(
    events.WorkerKilled,
    "worker.killed",
    WARNING,
    "Killed worker %s (pid %s): Task %s (%s) did not end when interrupted (%s)",
    by=(MANAGER,),
    fields=_INTERRUPTED,
    when="an interrupted run had not ended after `INTERRUPT_GRACE_SECONDS`",
)
def worker_killed(event: events.WorkerKilled) -> Line:
    return (event.slot, event.pid, *named(event.task), event.reason), _of_interrupted(event)


@log_event(
    events.SettleFailed,
    "task.settle_failed",
    ERROR,
    "Could not settle %s; trying again: %s",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.settle.count"), *fields.ERROR),
    when="outcomes cannot be written yet; once per change of state",
)
def settle_failed(event: events.SettleFailed) -> Line:
    return (counted(event.number), quoted(event.error)), {
        "partisan.settle.count": event.number,
        **of_failure(event.queue, event.error),
    }


@log_event(
    events.TaskClaimLost,
    "task.claim_lost",
    WARNING,
    "Task %s (%s) ended after its claim was lost; outcome dropped",
    by=(MANAGER,),
    fields=fields.OF_ONE_TASK,
    when="an outcome came for a claim that this manager no longer holds",
)
def claim_lost(event: events.TaskClaimLost) -> Line:
    return named(event.task), of_one_task(event.task)


@log_event(
    events.TaskRescued,
    "task.rescued",
    WARNING,
    "Task %s (%s) rescued (%s); it will run again",
    by=(MANAGER,),
    fields=(
        *fields.OF_ONE_TASK,
        REASON,
        OUTCOME._replace(optional=True),
        keyword("partisan.manager.previous", optional=True),
    ),
    when="the task of a lost manager or worker will run again; with outcome failure if its run was lost",
)
def rescued(event: events.TaskRescued) -> Line:
    is_failure = event.lost is not None and event.reason != REASON_STOPPED
    return (*named(event.task), event.reason), {
        **of_one_task(event.task),
        "event.reason": event.reason,
        **known(
            {
                "event.outcome": "failure" if is_failure else None,
                "partisan.manager.previous": event.previous_manager,
            }
        ),
    }


@log_event(
    events.TaskCancelled,
    "task.cancelled",
    INFO,
    "Task %s (%s) cancelled while it ran: %s",
    by=(WORKER, MANAGER),
    fields=(
        *fields.TASK,
        *(field._replace(optional=True) for field in (*fields.RUN[len(fields.TASK) :], DURATION)),
        OUTCOME,
        REASON,
    ),
    when="a run ended because somebody cancelled its task, which does not run again",
)
def cancelled(event: events.TaskCancelled) -> Line:
    run = event.run
    reason = redaction.cut(event.error.message, redaction.SHOWN_MAX_BYTES)
    return (*named(run), beginning(reason)), {
        **(of_run(run) if isinstance(run, events.Run) else of_one_task(run)),
        **({} if event.seconds is None else {"event.duration": nanoseconds(event.seconds)}),
        "event.outcome": "unknown",
        "event.reason": reason,
    }


@log_event(
    events.TaskExpired,
    "task.expired",
    INFO,
    "Task %s (%s) expired before it started",
    by=(MANAGER,),
    fields=fields.OF_ONE_TASK,
    when="a task had not started when it expired; it ends without a run",
)
def expired(event: events.TaskExpired) -> Line:
    return named(event.task), of_one_task(event.task)


@log_event(
    events.TransactionLeftOpen,
    "task.transaction_left_open",
    WARNING,
    "Task %s (%s) left a transaction open on the database %r; %s",
    by=(WORKER,),
    fields=(*fields.RUN, keyword("partisan.database.alias"), keyword("partisan.thread.name", optional=True)),
    when="a run left a transaction open; it was rolled back, or is still open in another thread",
)
def transaction_left_open(event: events.TransactionLeftOpen) -> Line:
    what = "it was rolled back" if event.thread is None else f"thread {event.thread!r} still has it open"
    return (*named(event.run), event.database, what), {
        **of_run(event.run),
        "partisan.database.alias": event.database,
        **known({"partisan.thread.name": event.thread}),
    }


@log_event(
    events.WrittenOutsideAtomic,
    "task.written_outside_atomic",
    WARNING,
    "Task %s (%s) is ATOMIC, but the thread %r wrote through its own connection, "
    "outside the transaction of the task",
    by=(WORKER,),
    fields=(*fields.RUN, keyword("partisan.thread.name")),
    when="during a run with `ATOMIC` another thread wrote to the tasks' database",
)
def written_outside_atomic(event: events.WrittenOutsideAtomic) -> Line:
    return (*named(event.run), event.thread), {
        **of_run(event.run),
        "partisan.thread.name": event.thread,
    }


def _of_either(run: events.Run | events.TaskRef) -> dict[str, Any]:
    return of_run(run) if isinstance(run, events.Run) else of_one_task(run)


def _of_interrupted(event: events.RunInterrupted | events.WorkerKilled) -> dict[str, Any]:
    return {
        **of_one_task(event.task),
        "partisan.worker.slot": event.slot,
        "partisan.worker.generation": event.generation,
        "partisan.worker.pid": event.pid,
        "event.duration": nanoseconds(event.seconds),
        "event.reason": event.reason,
    }


def _ended(run: events.Run, seconds: float, outcome: str) -> dict[str, Any]:
    values = of_run(run)
    values["event.duration"] = nanoseconds(seconds)
    values["event.outcome"] = outcome
    return values
