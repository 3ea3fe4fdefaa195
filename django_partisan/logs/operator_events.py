"""The log events of operators' actions: requeueing, changing and cancelling tasks, and pausing queues."""

from logging import INFO, WARNING
from typing import Final

from django_partisan.logs.fields import (
    DURATION,
    IDS_MAX,
    QUEUE,
    Field,
    beginning,
    count,
    keyword,
    long,
    nanoseconds,
    without_none,
)
from django_partisan.logs.log_event import APP, MANAGER, WORKER, Line, log_event
from django_partisan.telemetry import redaction
from django_partisan.telemetry.events.operators import (
    CancelRequested,
    QueuePaused,
    QueueResumed,
    TasksCancelled,
    TasksChanged,
    TasksRequeued,
)

_CANCELLED: Final = (
    QUEUE,
    keyword("partisan.processor"),
    long("partisan.cancel.count"),
    keyword("partisan.cancel.task_ids"),
    keyword("partisan.cancel.comment", optional=True),
)


@log_event(
    TasksRequeued,
    "task.requeued",
    INFO,
    "Requeued %s of %s",
    by=(APP, WORKER),
    fields=(QUEUE, keyword("partisan.processor"), long("partisan.requeue.count")),
    when="failed tasks were requeued; one line for each batch and processor",
)
def requeued(event: TasksRequeued) -> Line:
    return (count(event.number, "failed task"), event.processor), {
        "partisan.queue.name": event.queue,
        "partisan.processor": event.processor,
        "partisan.requeue.count": event.number,
    }


@log_event(
    TasksChanged,
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
    when="tasks were made due, given another priority or deleted; one line for each batch and processor",
)
def changed(event: TasksChanged) -> Line:
    return (count(event.number, "task"), event.processor, event.change), {
        "partisan.queue.name": event.queue,
        "partisan.processor": event.processor,
        "partisan.change.count": event.number,
        "partisan.change.kind": event.change,
    }


@log_event(
    TasksCancelled,
    "task.bulk_cancelled",
    INFO,
    "Cancelled %s of %s%s",
    by=(APP, WORKER, MANAGER),
    fields=_CANCELLED,
    when="tasks were cancelled before they ran; one line for each batch and processor, with up to 100 ids",
)
def bulk_cancelled(event: TasksCancelled) -> Line:
    return _cancel_line(event, "unstarted task")


@log_event(
    CancelRequested,
    "task.cancel_requested",
    INFO,
    "Requested cancellation of %s of %s%s",
    by=(APP, WORKER),
    fields=_CANCELLED,
    when="cancellation of claimed tasks was requested; one line for each batch and processor, with up to "
    "100 ids",
)
def cancel_requested(event: CancelRequested) -> Line:
    return _cancel_line(event, "claimed task")


@log_event(
    QueuePaused,
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
    when="a manager finds that its queue is paused, or that the pause was changed; also when the manager "
    "starts",
)
def paused(event: QueuePaused) -> Line:
    end = "until it is resumed" if event.until is None else f"until {event.until}"
    said = f": {beginning(event.comment)}" if event.comment else ""
    return (event.queue, end, said), {
        "partisan.queue.name": event.queue,
        **without_none(
            {
                "partisan.pause.until": event.until,
                "partisan.pause.by": event.by or None,
                "partisan.pause.comment": event.comment or None,
            }
        ),
    }


@log_event(
    QueueResumed,
    "queue.resumed",
    INFO,
    "Queue %s resumed after a pause of %.1f s",
    by=(MANAGER,),
    fields=(QUEUE, DURATION),
    when="a manager finds that its queue was resumed, or that the pause has ended",
)
def queue_resumed(event: QueueResumed) -> Line:
    return (event.queue, event.seconds), {
        "partisan.queue.name": event.queue,
        "event.duration": nanoseconds(event.seconds),
    }


def _cancel_line(event: TasksCancelled | CancelRequested, which: str) -> Line:
    comment = redaction.cut(event.comment, redaction.SHOWN_MAX_BYTES)
    why = f": {beginning(comment)}" if comment else ""
    return (count(event.number, which), event.processor, why), {
        "partisan.queue.name": event.queue,
        "partisan.processor": event.processor,
        "partisan.cancel.count": event.number,
        "partisan.cancel.task_ids": [str(task_id) for task_id in event.task_ids[:IDS_MAX]],
        **without_none({"partisan.cancel.comment": comment or None}),
    }
