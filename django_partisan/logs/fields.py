"""The fields of log events: their names, types, and the values and texts that several log events share."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple

from django_partisan.config import observability
from django_partisan.logs import context
from django_partisan.telemetry import redaction
from django_partisan.telemetry.events.values import ErrorInfo, Run, TaskRef
from django_partisan.telemetry.events.workers import WorkerExited, WorkerReady, WorkerStarted
from django_partisan.telemetry.trace_context import enqueued_trace_id

IDS_MAX: Final = 100
"""The highest number of task ids in one line."""
_QUOTED_MAX = 200


class Field(NamedTuple):
    """A field: its name and its Elasticsearch type. An optional field may be absent."""

    name: str
    type: str
    optional: bool = False


keyword: Final = partial(Field, type="keyword")
long: Final = partial(Field, type="long")

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
"""The fields of every line; lines that a task itself logs have no ``event.action``."""

QUEUE: Final = keyword("partisan.queue.name")
DURATION: Final = long("event.duration")
OUTCOME: Final = keyword("event.outcome")
REASON: Final = keyword("event.reason")
ARGUMENTS: Final = keyword("partisan.task.arguments", optional=True)

TASK_FIELDS: Final = (
    QUEUE,
    keyword("partisan.task.id"),
    keyword("partisan.processor"),
    long("partisan.task.priority"),
    long("partisan.task.attempt"),
    long("partisan.task.retries"),
    long("partisan.task.postpones"),
)
ENQUEUED_TRACE_ID: Final = keyword("partisan.task.enqueued_trace_id", optional=True)
OF_ONE_TASK: Final = (*TASK_FIELDS, ENQUEUED_TRACE_ID)
"""The fields of a manager's line about one task."""
RUN_FIELDS: Final = (
    *TASK_FIELDS,
    long("partisan.worker.slot"),
    long("partisan.worker.generation"),
    long("partisan.task.wait_ns"),
    ENQUEUED_TRACE_ID,
    ARGUMENTS,
)
ERROR_FIELDS: Final = (
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
    """Return a duration in nanoseconds, the unit of ECS; never below 0."""
    return int(seconds * 1_000_000_000) if seconds > 0 else 0


def of_task(task: TaskRef | Run) -> dict[str, Any]:
    """Return the values of the fields ``TASK_FIELDS``."""
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
    """Return the values of the fields ``RUN_FIELDS``."""
    fields = of_task(run)
    fields["partisan.worker.slot"] = run.slot
    fields["partisan.worker.generation"] = run.generation
    fields["partisan.task.wait_ns"] = nanoseconds(run.wait_seconds)
    if trace_id := enqueued_trace_id(run.headers):
        fields[ENQUEUED_TRACE_ID.name] = trace_id
    fields.update(of_arguments(run.arguments))
    return fields


def of_one_task(task: TaskRef) -> dict[str, Any]:
    """Return the fields of a manager's line about one task; its context comes from the task's headers."""
    return {**of_task(task), **of_headers(task.headers)}


def of_headers(headers: Mapping[str, str] | None) -> dict[str, Any]:
    """Return the fields from a task's headers: the trace that enqueued it, and its context as labels."""
    trace = without_none({ENQUEUED_TRACE_ID.name: enqueued_trace_id(headers)})
    return {**trace, **context.labels(context.carried(headers))}


def of_arguments(arguments: str | None) -> dict[str, Any]:
    """Return a task's redacted arguments as a field if ``LOG_TASK_ARGS`` is on, otherwise nothing."""
    if arguments is None or not observability.value("LOG_TASK_ARGS"):
        return {}
    return {"partisan.task.arguments": redaction.shown_arguments(arguments)}


def of_error(error: ErrorInfo) -> dict[str, Any]:
    """Return the fields ``error.*``; the stack trace is complete, and is cut when the line is written."""
    return without_none(
        {
            "error.type": error.type,
            "error.message": redaction.cut(error.message, redaction.SHOWN_MAX_BYTES),
            "error.stack_trace": error.stack_trace or None,
        }
    )


def of_failure(queue: str, error: ErrorInfo) -> dict[str, Any]:
    """Return the queue and the fields ``error.*``."""
    return {"partisan.queue.name": queue, **of_error(error)}


def without_none(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` without those that are ``None``."""
    return {name: value for name, value in values.items() if value is not None}


def of_worker(event: WorkerStarted | WorkerReady | WorkerExited) -> dict[str, Any]:
    """Return the values of the fields ``WORKER_FIELDS``."""
    return {
        "partisan.queue.name": event.queue,
        "partisan.worker.slot": event.slot,
        "partisan.worker.generation": event.generation,
        "partisan.worker.pid": event.pid,
    }


def id_and_processor(task: TaskRef | Run) -> tuple[int, str]:
    """Return a task's id and processor, with which most messages begin."""
    return task.id, task.processor


def count(number: int, what: str = "task") -> str:
    """Return a number and a noun, in the plural unless the number is 1."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def quoted(error: ErrorInfo) -> str:
    """Return the name of an error's class and the beginning of its message."""
    kind = error.type.rpartition(".")[2]
    message = error.message.strip()
    return f"{kind}: {beginning(message)}" if message else kind


def beginning(text: str) -> str:
    """Return the first line of ``text``, cut to 200 characters, with an ellipsis if anything is missing."""
    first, *more = text.splitlines() or [""]
    return first if not more and len(first) <= _QUOTED_MAX else first[:_QUOTED_MAX] + "…"
