"""The log events of one task before and after its runs.

To add a log event, here or in a neighboring module:

1. Add the event to ``telemetry/events/``: its class to a module, and its name to the union of all events.
2. Add one function below ``@log_event``, which declares action, level, message, roles, fields and occasion.
   The function returns the arguments of the message and the values of the fields; an optional field may be
   left out.

The table in ``docs/observability.md`` and the mappings for Elasticsearch are generated from these
declarations (``make tables``). The tests of the table name what is missing: the row of the contract, and a
sample.
"""

from logging import DEBUG, ERROR, INFO, WARNING
from typing import Final

from django_partisan.logs.fields import (
    ARGUMENTS,
    ERROR_FIELDS,
    OF_ONE_TASK,
    OUTCOME,
    QUEUE,
    REASON,
    TASK_FIELDS,
    Field,
    id_and_processor,
    keyword,
    long,
    of_arguments,
    of_error,
    of_one_task,
    of_task,
    quoted,
    without_none,
)
from django_partisan.logs.log_event import APP, MANAGER, WORKER, Line, LowerLevel, log_event
from django_partisan.outcomes import REASON_STOPPED
from django_partisan.telemetry.events.tasks import (
    TaskClaimLost,
    TaskDeduplicated,
    TaskEnqueued,
    TaskEnqueueFailed,
    TaskExpired,
    TaskRescued,
)

_IN_BULK: Final = LowerLevel(DEBUG, lambda event: event.in_bulk)


@log_event(
    TaskEnqueued,
    "task.enqueued",
    INFO,
    "Task %s (%s) enqueued%s",
    by=(APP, WORKER),
    fields=(
        *TASK_FIELDS,
        Field("partisan.task.due_at", "date"),
        Field("partisan.task.scheduled", "boolean"),
        ARGUMENTS,
    ),
    when="the task was committed, so there is no event for a row that was rolled back; logged at level debug "
    "for `bulk_delay()`",
    lower=_IN_BULK,
)
def enqueued(event: TaskEnqueued) -> Line:
    due_at = event.due_at.isoformat()
    return (*id_and_processor(event.task), f", due at {due_at}" if event.scheduled else ""), {
        **of_task(event.task),
        "partisan.task.due_at": due_at,
        "partisan.task.scheduled": event.scheduled,
        **of_arguments(event.arguments),
    }


@log_event(
    TaskDeduplicated,
    "task.deduplicated",
    INFO,
    "Task %s (%s) is already waiting; no duplicate enqueued",
    by=(APP, WORKER),
    fields=TASK_FIELDS,
    when="a waiting duplicate was found (the line contains its id); logged at level debug for `bulk_delay()`",
    lower=_IN_BULK,
)
def deduplicated(event: TaskDeduplicated) -> Line:
    return id_and_processor(event.task), of_task(event.task)


@log_event(
    TaskEnqueueFailed,
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
        *ERROR_FIELDS,
    ),
    when="the insert failed; there is no task, so the line has no task id",
)
def enqueue_failed(event: TaskEnqueueFailed) -> Line:
    return (event.processor or "several processors", quoted(event.error)), {
        "partisan.queue.name": event.queue,
        **without_none(
            {"partisan.processor": event.processor or None, "partisan.task.priority": event.priority}
        ),
        "partisan.task.attempt": 1,
        "partisan.task.retries": 0,
        "partisan.task.postpones": 0,
        "event.outcome": "failure",
        **of_error(event.error),
    }


@log_event(
    TaskClaimLost,
    "task.claim_lost",
    WARNING,
    "Task %s (%s) ended after its claim was lost; outcome dropped",
    by=(MANAGER,),
    fields=OF_ONE_TASK,
    when="an outcome arrived for a claim that this manager no longer holds",
)
def claim_lost(event: TaskClaimLost) -> Line:
    return id_and_processor(event.task), of_one_task(event.task)


@log_event(
    TaskRescued,
    "task.rescued",
    WARNING,
    "Task %s (%s) rescued (%s); it will run again",
    by=(MANAGER,),
    fields=(
        *OF_ONE_TASK,
        REASON,
        OUTCOME._replace(optional=True),
        keyword("partisan.manager.previous", optional=True),
    ),
    when="the task of a lost manager or worker will run again; the event has the outcome `failure` if a run "
    "was lost for any reason other than a forced stop",
)
def rescued(event: TaskRescued) -> Line:
    is_failure = event.lost is not None and event.reason != REASON_STOPPED
    return (*id_and_processor(event.task), event.reason), {
        **of_one_task(event.task),
        "event.reason": event.reason,
        **without_none(
            {
                "event.outcome": "failure" if is_failure else None,
                "partisan.manager.previous": event.previous_manager,
            }
        ),
    }


@log_event(
    TaskExpired,
    "task.expired",
    INFO,
    "Task %s (%s) expired before it started",
    by=(MANAGER,),
    fields=OF_ONE_TASK,
    when="a task had not started when it expired; it ends without a run",
)
def expired(event: TaskExpired) -> Line:
    return id_and_processor(event.task), of_one_task(event.task)
