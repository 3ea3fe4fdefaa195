"""The fields of a log event: their names, their types, and the events they are taken from."""

from typing import Any, Final, NamedTuple

from django_partisan.config import observability
from django_partisan.telemetry import redaction
from django_partisan.telemetry.events import ErrorInfo, Run, TaskRef
from django_partisan.telemetry.trace_context import enqueued_trace_id

ERROR_MESSAGE_MAX_BYTES: Final = 1024
IDS_MAX: Final = 100
"""At most so many task ids are named in one line."""


class Field(NamedTuple):
    """Name a field and its Elasticsearch type; an optional one may be absent."""

    name: str
    type: str
    optional: bool = False


def keyword(name: str, optional: bool = False) -> Field:
    return Field(name, "keyword", optional)


def long(name: str, optional: bool = False) -> Field:
    return Field(name, "long", optional)


COMMON: Final = (
    Field("@timestamp", "date"),
    keyword("log.level"),
    Field("message", "text"),
    keyword("ecs.version"),
    keyword("log.logger"),
    long("process.pid"),
    keyword("process.name"),
    keyword("event.kind"),
    keyword("event.module"),
    keyword("event.dataset"),
    keyword("event.id"),
    keyword("event.action", optional=True),
    keyword("event.outcome", optional=True),
    keyword("service.name", optional=True),
    keyword("service.version", optional=True),
    keyword("service.environment", optional=True),
    keyword("service.node.name", optional=True),
    keyword("trace.id", optional=True),
    keyword("span.id", optional=True),
    keyword("transaction.id", optional=True),
    keyword("partisan.queue.name", optional=True),
    keyword("labels.*", optional=True),
)
"""Every line has these; ``event.action`` is absent from what a task itself logs."""

QUEUE: Final = keyword("partisan.queue.name")
DURATION: Final = long("event.duration")
OUTCOME: Final = keyword("event.outcome")
REASON: Final = keyword("event.reason")
ARGUMENTS: Final = keyword("partisan.task.arguments", optional=True)

TASK: Final = (
    QUEUE,
    keyword("partisan.task.id"),
    keyword("partisan.processor"),
    long("partisan.task.priority"),
    long("partisan.task.attempt"),
    long("partisan.task.retries"),
    long("partisan.task.postpones"),
)
RUN: Final = (
    *TASK,
    long("partisan.worker.slot"),
    long("partisan.worker.generation"),
    long("partisan.task.wait_ns"),
    keyword("partisan.task.enqueued_trace_id", optional=True),
    ARGUMENTS,
)
ERROR: Final = (
    keyword("error.type"),
    Field("error.message", "text"),
    Field("error.stack_trace", "wildcard", optional=True),
)
WORKER_FIELDS: Final = (
    QUEUE,
    long("partisan.worker.slot"),
    long("partisan.worker.generation"),
    long("partisan.worker.pid"),
)


def nanoseconds(seconds: float) -> int:
    """Return a duration as ECS wants it, never below 0."""
    return int(seconds * 1_000_000_000) if seconds > 0 else 0


def of_task(task: TaskRef | Run) -> dict[str, Any]:
    """Return the fields T of a task."""
    return {
        "partisan.queue.name": task.queue,
        "partisan.task.id": str(task.id),
        "partisan.processor": task.processor,
        "partisan.task.priority": task.priority,
        "partisan.task.attempt": task.attempt,
        "partisan.task.retries": task.retries,
        "partisan.task.postpones": task.postpones,
    }


def of_run(run: Run) -> dict[str, Any]:
    """Return the fields R of a run."""
    fields = of_task(run)
    fields["partisan.worker.slot"] = run.slot
    fields["partisan.worker.generation"] = run.generation
    fields["partisan.task.wait_ns"] = nanoseconds(run.wait_seconds)
    if run.headers:
        trace_id = enqueued_trace_id(run.headers)
        if trace_id is not None:
            fields["partisan.task.enqueued_trace_id"] = trace_id
    add_arguments(fields, run.arguments)
    return fields


def add_arguments(fields: dict[str, Any], arguments: str | None) -> None:
    """Add a task's arguments, redacted, if ``LOG_TASK_ARGS`` asks for them."""
    if arguments is not None and observability.value("LOG_TASK_ARGS"):
        fields["partisan.task.arguments"] = redaction.shown_arguments(arguments)


def of_error(error: ErrorInfo) -> dict[str, Any]:
    """Return the fields error.*; the stack trace is whole, and cut where the line is written."""
    fields = {
        "error.type": error.type,
        "error.message": redaction.cut(error.message, ERROR_MESSAGE_MAX_BYTES),
    }
    if error.stack_trace:
        fields["error.stack_trace"] = error.stack_trace
    return fields


def of_worker(queue: str, slot: int, generation: int, pid: int) -> dict[str, Any]:
    """Return the fields that name a worker process."""
    return {
        "partisan.queue.name": queue,
        "partisan.worker.slot": slot,
        "partisan.worker.generation": generation,
        "partisan.worker.pid": pid,
    }
