"""Create the spans of runs that no worker could end, for tasks that the manager ends or rescues."""

import time
from typing import Final, TypeAlias

from opentelemetry.trace import Tracer

from django_partisan import outcomes, registry
from django_partisan.exceptions import WorkerLost
from django_partisan.telemetry.events.runs import TaskCancelled, TaskFailed, TaskRetried
from django_partisan.telemetry.events.tasks import TaskRescued
from django_partisan.telemetry.events.values import ErrorInfo, LostRun
from django_partisan.tracing import spans
from django_partisan.tracing.attributes import Attributes, SpanDescriptions, message, of_task
from django_partisan.tracing.links import relation_of_run
from django_partisan.tracing.span_scopes import NANOSECONDS, record_error

Ended: TypeAlias = TaskFailed | TaskRetried | TaskCancelled | TaskRescued

RESCUED: Final = "rescued"
"""The end of the span event's name. The run has no outcome, because what it did is unknown."""


def add_run(tracer: Tracer, descriptions: SpanDescriptions, event: Ended) -> None:
    """Add the span of a lost run; if the task failed without a run, the span has no duration."""
    task = event.task if isinstance(event, TaskRescued) else event.run
    now = time.time()
    lost = event.lost or LostRun(now, now)
    definition = registry.find(task.processor)
    parent, _, links = relation_of_run(task, None if definition is None else definition.propagation)
    name, common = descriptions.of(spans.PROCESS, task.queue, task.processor, lost.slot)
    attributes = of_task(common, task)
    if lost.wait_seconds is not None:
        attributes[spans.WAIT_SECONDS] = lost.wait_seconds
    kind, began_at = spans.SPANS[spans.PROCESS].kind, int(lost.began_at * NANOSECONDS)
    span = tracer.start_span(name, parent, kind, attributes, links, began_at)
    outcome, error = RESCUED, None
    if isinstance(event, TaskFailed):
        outcome, error = outcomes.FAILED, event.error
    elif isinstance(event, TaskRetried):
        outcome, error = outcomes.RETRIED, event.error
        span.set_attribute(spans.DELAY_SECONDS, float(event.delay_seconds))
    elif isinstance(event, TaskCancelled):
        outcome = outcomes.CANCELLED
    elif event.reason != outcomes.REASON_STOPPED:  # a forced stop is not an error
        error = ErrorInfo.of(WorkerLost(f"{task.processor}: the worker died while it ran this task."))
    if outcome != RESCUED:
        span.set_attribute(spans.OUTCOME, outcome)
    fields = _fields(event, lost)
    if isinstance(event, TaskCancelled):
        fields[spans.EVENT_OUTCOME] = "unknown"
    elif error is not None:
        record_error(span, error)
        fields[spans.EVENT_OUTCOME] = "failure"
    span.add_event(f"task.{outcome}", fields)
    span.end(int(lost.ended_at * NANOSECONDS))


def _fields(event: Ended, lost: LostRun) -> Attributes:
    fields: Attributes = {}
    if isinstance(event, TaskRetried):
        fields[spans.RETRIES_LEFT] = event.retries_left
    elif isinstance(event, TaskCancelled):
        fields[spans.EVENT_REASON] = message(event.error.message)
    else:
        fields[spans.EVENT_REASON] = event.reason
    if event.lost is not None:
        fields[spans.EVENT_DURATION] = int((lost.ended_at - lost.began_at) * NANOSECONDS)
    if lost.slot is not None and lost.generation is not None:
        fields[spans.WORKER_SLOT], fields[spans.WORKER_GENERATION] = lost.slot, lost.generation
    return fields
