"""Start the spans of runs and add their outcomes, also for runs that no worker could end."""

import time
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode

from django_partisan import outcomes, registry
from django_partisan.exceptions import WorkerLost
from django_partisan.telemetry.events.runs import (
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
)
from django_partisan.telemetry.events.tasks import TaskRescued
from django_partisan.telemetry.events.values import ErrorInfo, LostRun, Run, TaskRef
from django_partisan.tracing import spans
from django_partisan.tracing.attributes import Attributes, SpanStarter, message, of_task, stack_trace
from django_partisan.tracing.links import relation_of_run

NANOSECONDS: Final = 1_000_000_000
RESCUED: Final = "rescued"
"""Suffix of a span event's name. A rescued run has no outcome, because it is not known what it did."""

RunEnded = TaskCompleted | TaskPostponed | TaskRetried | TaskFailed | TaskCancelled
LostRunEnded = TaskRetried | TaskFailed | TaskCancelled | TaskRescued
OUTCOMES: Final[dict[type, tuple[str, str]]] = {
    TaskCompleted: (outcomes.COMPLETED, "success"),
    TaskPostponed: (outcomes.POSTPONED, "unknown"),
    TaskRetried: (outcomes.RETRIED, "failure"),
    TaskFailed: (outcomes.FAILED, "failure"),
    TaskCancelled: (outcomes.CANCELLED, "unknown"),
    TaskRescued: (RESCUED, "failure"),
}
"""For each event that ends a run: the outcome, and ``event.outcome``."""


def start_run(
    starter: SpanStarter,
    task: Run | TaskRef,
    propagation: str | None,
    slot: int | None,
    wait_seconds: float | None,
    started: int | None = None,
) -> tuple[Span, Context]:
    """Start the span of a run; return it and the context in which the task runs."""
    parent, carried, links = relation_of_run(task, propagation)
    span = starter.start(
        spans.PROCESS,
        task.queue,
        task.processor,
        slot,
        context=parent,
        more=of_task(task, wait_seconds),
        links=links,
        started=started,
    )
    return span, carried


def add_run(starter: SpanStarter, event: LostRunEnded) -> None:
    """Add the span of a lost run; if the task failed without a run, the span has no duration."""
    task = event.task if isinstance(event, TaskRescued) else event.run
    now = time.time()
    lost = event.lost or LostRun(now, now)
    definition = registry.find(task.processor)
    propagation = None if definition is None else definition.propagation
    started = int(lost.began_at * NANOSECONDS)
    span, _ = start_run(starter, task, propagation, lost.slot, lost.wait_seconds, started)
    seconds = None if event.lost is None else lost.ended_at - lost.began_at
    add_outcome(span, event, seconds, lost.slot, lost.generation)
    span.end(int(lost.ended_at * NANOSECONDS))


def add_outcome(
    span: Span, event: RunEnded | TaskRescued, seconds: float | None, slot: int | None, generation: int | None
) -> None:
    """Add the outcome: attributes, status, and one span event with the fields of the log event."""
    outcome, event_outcome = OUTCOMES[type(event)]
    fields: Attributes = {spans.EVENT_OUTCOME: event_outcome}
    if seconds is not None:
        fields[spans.EVENT_DURATION] = int(seconds * NANOSECONDS)
    if slot is not None and generation is not None:
        fields[spans.WORKER_SLOT], fields[spans.WORKER_GENERATION] = slot, generation
    error = None
    reason: str | None = getattr(event, "reason", None)
    match event:
        case TaskPostponed():
            span.set_attribute(spans.DELAY_SECONDS, float(event.delay_seconds))
        case TaskRetried():
            error = event.error
            fields[spans.RETRIES_LEFT] = event.retries_left
            span.set_attribute(spans.DELAY_SECONDS, float(event.delay_seconds))
        case TaskFailed():
            error = event.error
        case TaskCancelled():
            reason = event.error.message
        case TaskRescued(reason=outcomes.REASON_STOPPED):  # a forced stop is not an error
            del fields[spans.EVENT_OUTCOME]
        case TaskRescued():
            error = ErrorInfo.of(
                WorkerLost(f"{event.task.processor}: the worker died while it ran this task.")
            )
    if outcome != RESCUED:
        span.set_attribute(spans.OUTCOME, outcome)
    if error is not None:
        record_error(span, error)
    if reason is not None:
        fields[spans.EVENT_REASON] = message(reason)
    span.add_event(f"task.{outcome}", fields)


def record_error(span: Span, error: ErrorInfo) -> None:
    """Set the span's status and record the exception."""
    text = message(error.message)
    span.set_status(Status(StatusCode.ERROR, text))
    span.set_attribute(spans.ERROR_TYPE, error.type)
    span.add_event(
        spans.EXCEPTION,
        {
            spans.EXCEPTION_TYPE: error.type,
            spans.EXCEPTION_MESSAGE: text,
            spans.EXCEPTION_STACKTRACE: stack_trace(error.stack_trace),
        },
    )
