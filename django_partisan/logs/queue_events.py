"""The log events of queues: what is done to many tasks at once; ``task_events`` says how to add one."""

from logging import DEBUG, INFO, WARNING
from typing import Any, Final

from django_partisan.logs import fields
from django_partisan.logs.fields import (
    DURATION,
    QUEUE,
    REASON,
    Field,
    beginning,
    counted,
    keyword,
    known,
    long,
    nanoseconds,
    of_failure,
    quoted,
)
from django_partisan.logs.log_event import APP, MANAGER, WORKER, Line, LowerLevel, log_event
from django_partisan.telemetry import events, redaction

_CANCELLED: Final = (
    QUEUE,
    keyword("partisan.processor"),
    long("partisan.cancel.count"),
    keyword("partisan.cancel.task_ids"),
    keyword("partisan.cancel.comment", optional=True),
)
_HELD: Final = (QUEUE, keyword("partisan.processor"), long("partisan.hold.count"), REASON)


@log_event(
    events.TasksReleased,
    "task.released",
    INFO,
    "Released %s (%s)",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.release.count"), REASON),
    when="tasks that had not started are new again",
)
def released(event: events.TasksReleased) -> Line:
    return (counted(event.number, "unstarted task"), event.reason), {
        "partisan.queue.name": event.queue,
        "partisan.release.count": event.number,
        "event.reason": event.reason,
    }


@log_event(
    events.TasksRequeued,
    "task.requeued",
    INFO,
    "Requeued %s of %s",
    by=(APP, WORKER),
    fields=(QUEUE, keyword("partisan.processor"), long("partisan.requeue.count")),
    when="failed tasks wait again, as somebody asked; for each batch and processor",
)
def requeued(event: events.TasksRequeued) -> Line:
    return (counted(event.number, "failed task"), event.processor), {
        "partisan.queue.name": event.queue,
        "partisan.processor": event.processor,
        "partisan.requeue.count": event.number,
    }


@log_event(
    events.TasksChanged,
    "task.changed",
    INFO,
    "Changed %s of %s (%s)",
    by=(APP, WORKER),
    fields=(
        QUEUE,
        keyword("partisan.processor"),
        long("partisan.change.count"),
        keyword("partisan.change.kind"),
    ),
    when="somebody made tasks due, changed their priority or deleted them; for each batch and processor",
)
def changed(event: events.TasksChanged) -> Line:
    return (counted(event.number, "task"), event.processor, event.change), {
        "partisan.queue.name": event.queue,
        "partisan.processor": event.processor,
        "partisan.change.count": event.number,
        "partisan.change.kind": event.change,
    }


@log_event(
    events.TasksCancelled,
    "task.bulk_cancelled",
    INFO,
    "Cancelled %s of %s%s",
    by=(APP, WORKER, MANAGER),
    fields=_CANCELLED,
    when="tasks were cancelled before they ran; for each batch and processor, with up to 100 ids",
)
def bulk_cancelled(event: events.TasksCancelled) -> Line:
    return _of_cancel(event, "unstarted task")


@log_event(
    events.CancelRequested,
    "task.cancel_requested",
    INFO,
    "Requested the end of %s of %s%s",
    by=(APP, WORKER),
    fields=_CANCELLED,
    when="somebody cancelled tasks that managers hold; for each batch and processor, with up to 100 ids",
)
def cancel_requested(event: events.CancelRequested) -> Line:
    return _of_cancel(event, "claimed task")


@log_event(
    events.TasksHeld,
    "task.held",
    WARNING,
    "Held %s of %s (%s)",
    by=(MANAGER,),
    fields=_HELD,
    when="tasks are held; for each processor at once, then at most once a minute",
)
def held(event: events.TasksHeld) -> Line:
    return (counted(event.number), event.processor, event.reason), _of_held(event)


@log_event(
    events.TasksResumed,
    "task.resumed",
    INFO,
    "Resumed %s of %s (%s)",
    by=(MANAGER,),
    fields=_HELD,
    when="held tasks wait for a claim again",
)
def resumed(event: events.TasksResumed) -> Line:
    return (counted(event.number, "held task"), event.processor, event.reason), _of_held(event)


@log_event(
    events.PrunePassEnded,
    "task.pruned",
    INFO,
    "Pruned %s and %s in %.1f s",
    by=(MANAGER,),
    fields=(QUEUE, DURATION, long("partisan.prune.finished"), long("partisan.prune.failed")),
    when="a manager has pruned rows of all queues; debug if there were none",
    lower=LowerLevel(DEBUG, lambda event: not event.finished and not event.failed),
)
def pruned(event: events.PrunePassEnded) -> Line:
    finished, failed = counted(event.finished, "finished task"), counted(event.failed, "failed task")
    return (finished, failed, event.seconds), {
        "partisan.queue.name": event.queue,
        "event.duration": nanoseconds(event.seconds),
        "partisan.prune.finished": event.finished,
        "partisan.prune.failed": event.failed,
    }


@log_event(
    events.PruneFailed,
    "task.prune_failed",
    WARNING,
    "Could not prune old tasks: %s",
    by=(MANAGER,),
    fields=(QUEUE, *fields.ERROR),
    when="old rows cannot be deleted, for example because the role lacks the right; once until it succeeds",
)
def prune_failed(event: events.PruneFailed) -> Line:
    return (quoted(event.error),), of_failure(event.queue, event.error)


@log_event(
    events.QueuePaused,
    "queue.paused",
    WARNING,
    "Queue %s is paused %s%s",
    by=(MANAGER,),
    fields=(
        QUEUE,
        Field("partisan.pause.until", "date", optional=True),
        keyword("partisan.pause.by", optional=True),
        Field("partisan.pause.comment", "text", optional=True),
    ),
    when="a manager finds that its queue is paused, or that the pause was changed; also at its start",
)
def paused(event: events.QueuePaused) -> Line:
    end = "until it is resumed" if event.until is None else f"until {event.until}"
    said = f": {beginning(event.comment)}" if event.comment else ""
    return (event.queue, end, said), {
        "partisan.queue.name": event.queue,
        **known(
            {
                "partisan.pause.until": event.until,
                "partisan.pause.by": event.by or None,
                "partisan.pause.comment": event.comment or None,
            }
        ),
    }


@log_event(
    events.QueueResumed,
    "queue.resumed",
    INFO,
    "Queue %s resumed after a pause of %.1f s",
    by=(MANAGER,),
    fields=(QUEUE, DURATION),
    when="a manager finds that its queue was resumed, or that the pause has ended",
)
def queue_resumed(event: events.QueueResumed) -> Line:
    return (event.queue, event.seconds), {
        "partisan.queue.name": event.queue,
        "event.duration": nanoseconds(event.seconds),
    }


def _of_cancel(event: events.TasksCancelled | events.CancelRequested, which: str) -> Line:
    comment = redaction.cut(event.comment, redaction.SHOWN_MAX_BYTES)
    why = f": {beginning(comment)}" if comment else ""
    return (counted(event.number, which), event.processor, why), {
        "partisan.queue.name": event.queue,
        "partisan.processor": event.processor,
        "partisan.cancel.count": event.number,
        "partisan.cancel.task_ids": [str(task_id) for task_id in event.task_ids[: fields.IDS_MAX]],
        **known({"partisan.cancel.comment": comment or None}),
    }


def _of_held(event: events.TasksHeld | events.TasksResumed) -> dict[str, Any]:
    return {
        "partisan.queue.name": event.queue,
        "partisan.processor": event.processor,
        "partisan.hold.count": event.number,
        "event.reason": event.reason,
    }
