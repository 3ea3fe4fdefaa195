"""The log events of operations on many tasks of a queue at once."""

from logging import DEBUG, ERROR, INFO, WARNING
from typing import Any, Final

from django_partisan.logs.fields import (
    DURATION,
    ERROR_FIELDS,
    IDS_MAX,
    QUEUE,
    REASON,
    count,
    keyword,
    long,
    nanoseconds,
    of_failure,
    quoted,
    without_none,
)
from django_partisan.logs.log_event import APP, MANAGER, WORKER, Line, LowerLevel, log_event
from django_partisan.telemetry.events.queues import (
    ClaimFailed,
    PruneFailed,
    PrunePassEnded,
    SettleFailed,
    TasksClaimed,
    TasksEnqueued,
    TasksHeld,
    TasksReleased,
    TasksResumed,
)

_HELD: Final = (QUEUE, keyword("partisan.processor"), long("partisan.hold.count"), REASON)


@log_event(
    TasksEnqueued,
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
    when="after the commit of a `bulk_delay()` call; one line for all its tasks",
)
def bulk_enqueued(event: TasksEnqueued) -> Line:
    waited = f", {event.deduplicated} {'was' if event.deduplicated == 1 else 'were'} waiting already"
    return (
        count(event.number),
        event.processor or "several processors",
        waited if event.deduplicated else "",
    ), {
        **without_none({"partisan.queue.name": event.queue, "partisan.processor": event.processor}),
        "partisan.enqueue.count": event.number,
        "partisan.enqueue.deduplicated": event.deduplicated,
    }


@log_event(
    TasksClaimed,
    "task.claimed",
    DEBUG,
    "Claimed %s in %.3f s",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.claim.count"), keyword("partisan.claim.task_ids"), DURATION),
    when="a claim found tasks; one line for all of them, with up to 100 ids",
)
def claimed(event: TasksClaimed) -> Line:
    return (count(event.number), event.seconds), {
        "partisan.queue.name": event.queue,
        "partisan.claim.count": event.number,
        "partisan.claim.task_ids": [str(task_id) for task_id in event.task_ids[:IDS_MAX]],
        "event.duration": nanoseconds(event.seconds),
    }


@log_event(
    ClaimFailed,
    "claim.failed",
    ERROR,
    "Could not claim tasks; trying again: %s",
    by=(MANAGER,),
    fields=(QUEUE, *ERROR_FIELDS),
    when="claims begin to fail, or to wait for a database that does not answer; logged once per change of "
    "state",
)
def claim_failed(event: ClaimFailed) -> Line:
    return (quoted(event.error),), of_failure(event.queue, event.error)


@log_event(
    SettleFailed,
    "task.settle_failed",
    ERROR,
    "Could not settle %s; trying again: %s",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.settle.count"), *ERROR_FIELDS),
    when="outcomes cannot be written yet; logged once per change of state",
)
def settle_failed(event: SettleFailed) -> Line:
    return (count(event.number), quoted(event.error)), {
        "partisan.settle.count": event.number,
        **of_failure(event.queue, event.error),
    }


@log_event(
    TasksReleased,
    "task.released",
    INFO,
    "Released %s (%s)",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.release.count"), REASON),
    when="a manager released tasks that had not started",
)
def released(event: TasksReleased) -> Line:
    return (count(event.number, "unstarted task"), event.reason), {
        "partisan.queue.name": event.queue,
        "partisan.release.count": event.number,
        "event.reason": event.reason,
    }


@log_event(
    TasksHeld,
    "task.held",
    WARNING,
    "Held %s of %s (%s)",
    by=(MANAGER,),
    fields=_HELD,
    when="tasks were held; logged for each processor immediately, then at most once a minute",
)
def held(event: TasksHeld) -> Line:
    return (count(event.number), event.processor, event.reason), _held_fields(event)


@log_event(
    TasksResumed,
    "task.resumed",
    INFO,
    "Resumed %s of %s (%s)",
    by=(MANAGER,),
    fields=_HELD,
    when="held tasks can be claimed again",
)
def resumed(event: TasksResumed) -> Line:
    return (count(event.number, "held task"), event.processor, event.reason), _held_fields(event)


@log_event(
    PrunePassEnded,
    "task.pruned",
    INFO,
    "Pruned %s and %s in %.1f s",
    by=(MANAGER,),
    fields=(QUEUE, DURATION, long("partisan.prune.finished"), long("partisan.prune.failed")),
    when="a manager has pruned rows of all queues; logged at level debug if there were none to prune",
    lower=LowerLevel(DEBUG, lambda event: not event.finished and not event.failed),
)
def pruned(event: PrunePassEnded) -> Line:
    return (count(event.finished, "finished task"), count(event.failed, "failed task"), event.seconds), {
        "partisan.queue.name": event.queue,
        "event.duration": nanoseconds(event.seconds),
        "partisan.prune.finished": event.finished,
        "partisan.prune.failed": event.failed,
    }


@log_event(
    PruneFailed,
    "task.prune_failed",
    WARNING,
    "Could not prune old tasks: %s",
    by=(MANAGER,),
    fields=(QUEUE, *ERROR_FIELDS),
    when="old rows cannot be deleted, for example because the role lacks privileges; logged once until "
    "pruning succeeds",
)
def prune_failed(event: PruneFailed) -> Line:
    return (quoted(event.error),), of_failure(event.queue, event.error)


def _held_fields(event: TasksHeld | TasksResumed) -> dict[str, Any]:
    return {
        "partisan.queue.name": event.queue,
        "partisan.processor": event.processor,
        "partisan.hold.count": event.number,
        "event.reason": event.reason,
    }
