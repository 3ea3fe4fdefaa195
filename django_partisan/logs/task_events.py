"""The log events of a task's life."""

import logging
from typing import Final

from django_partisan.logs import values, wording
from django_partisan.logs.fields import (
    ARGUMENTS,
    DURATION,
    ERROR,
    OUTCOME,
    QUEUE,
    REASON,
    RUN,
    TASK,
    Field,
    keyword,
    long,
)
from django_partisan.logs.log_event import APP, MANAGER, WORKER, LogEvent, optional
from django_partisan.telemetry import events

_DELAY: Final = long("partisan.task.delay_ns")
_MAY_BE_UNKNOWN: Final = ("partisan.processor", "partisan.task.priority")
_UNNAMED_TASK: Final = tuple(
    field._replace(optional=field.name in _MAY_BE_UNKNOWN)
    for field in TASK
    if field.name != "partisan.task.id"
)
_MAYBE_RUN: Final = (*TASK, *optional(*(field for field in RUN if field not in TASK), DURATION))

TASK_LOG_EVENTS: Final[dict[type, LogEvent]] = {
    events.TaskEnqueued: LogEvent(
        "task.enqueued",
        logging.INFO,
        (APP, WORKER),
        (
            *TASK,
            Field("partisan.task.due_at", "date"),
            Field("partisan.task.scheduled", "boolean"),
            ARGUMENTS,
        ),
        "after commit; never for a rolled-back row",
        wording.enqueued,
        values.enqueued,
    ),
    events.TaskDeduplicated: LogEvent(
        "task.deduplicated",
        logging.INFO,
        (APP, WORKER),
        TASK,
        "a twin that waits was found; it is the task named",
        wording.deduplicated,
        values.deduplicated,
    ),
    events.TaskEnqueueFailed: LogEvent(
        "task.enqueue_failed",
        logging.ERROR,
        (APP, WORKER),
        (*_UNNAMED_TASK, *ERROR),
        "the insert raised; there is no task, so no id",
        wording.enqueue_failed,
        values.enqueue_failed,
    ),
    events.TasksClaimed: LogEvent(
        "task.claimed",
        logging.DEBUG,
        (MANAGER,),
        (QUEUE, long("partisan.claim.count"), keyword("partisan.claim.task_ids"), DURATION),
        "a claim found rows: one line for all of them, at most 100 of them named",
        wording.claimed,
        values.claimed,
    ),
    events.TaskStarted: LogEvent(
        "task.started", logging.DEBUG, (WORKER,), RUN, "before `run()`", wording.started, values.started
    ),
    events.TaskCompleted: LogEvent(
        "task.completed",
        logging.INFO,
        (WORKER,),
        (*RUN, DURATION, OUTCOME),
        "the run ended well: the canonical line",
        wording.completed,
        values.completed,
    ),
    events.TaskPostponed: LogEvent(
        "task.postponed",
        logging.INFO,
        (WORKER,),
        (*RUN, DURATION, OUTCOME, _DELAY, *optional(REASON)),
        "the task asked to run again later",
        wording.postponed,
        values.postponed,
    ),
    events.TaskRetried: LogEvent(
        "task.retried",
        logging.WARNING,
        (WORKER,),
        (*RUN, DURATION, OUTCOME, _DELAY, long("partisan.task.retries_left"), *ERROR),
        "an error on the processor's list, and tries are left",
        wording.retried,
        values.retried,
    ),
    events.TaskFailed: LogEvent(
        "task.failed",
        logging.ERROR,
        (WORKER, MANAGER),
        (*_MAYBE_RUN, OUTCOME, REASON, *ERROR),
        "the task failed for good",
        wording.failed,
        values.failed,
    ),
    events.SettleFailed: LogEvent(
        "task.settle_failed",
        logging.ERROR,
        (MANAGER,),
        (QUEUE, long("partisan.settle.count"), *ERROR),
        "outcomes cannot be written yet; once per change of state",
        wording.settle_failed,
        values.settle_failed,
    ),
    events.TaskClaimLost: LogEvent(
        "task.claim_lost",
        logging.WARNING,
        (MANAGER,),
        TASK,
        "an outcome came for a claim that is no longer ours",
        wording.claim_lost,
        values.claim_lost,
    ),
    events.TaskRescued: LogEvent(
        "task.rescued",
        logging.WARNING,
        (MANAGER,),
        (*TASK, REASON, *optional(keyword("partisan.manager.previous"))),
        "the task of a lost manager or worker will run again",
        wording.rescued,
        values.rescued,
    ),
    events.TasksReleased: LogEvent(
        "task.released",
        logging.INFO,
        (MANAGER,),
        (QUEUE, long("partisan.release.count"), REASON),
        "tasks that had not started are new again",
        wording.released,
        values.released,
    ),
    events.TransactionLeftOpen: LogEvent(
        "task.transaction_left_open",
        logging.WARNING,
        (WORKER,),
        (*RUN, keyword("partisan.database.alias")),
        "a run ended inside a transaction; it was rolled back",
        wording.transaction_left_open,
        values.transaction_left_open,
    ),
}
