"""Emit what the core would emit: enqueueings, runs and their outcomes, without a table."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import TasksClaimed
from django_partisan.telemetry.events.runs import (
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
    TaskStarted,
)
from django_partisan.telemetry.events.scopes import Enqueueing, Running, Ticking
from django_partisan.telemetry.events.tasks import TaskEnqueueFailed
from django_partisan.telemetry.events.values import ErrorInfo, Run
from django_partisan.tracing import spans

QUEUE = "images"
PROCESSOR = "Resize"
TASK_ID = 7
SLOT = 3
GENERATION = 2
ERROR = ErrorInfo("shop.errors.Broken", "no such image", "Traceback ...\nshop.errors.Broken: no such image\n")


def enqueue(task_id: int = TASK_ID, deduplicated: bool = False) -> dict[str, str]:
    """Enqueue one task; return the context stored with its row."""
    scope = Enqueueing(QUEUE, PROCESSOR)
    with bus.around(scope):
        headers = bus.headers()
        scope.task_id = task_id
        scope.deduplicated = deduplicated
    return headers


def bulk_enqueue(task_ids: Sequence[int], processors: Sequence[str]) -> list[dict[str, str]]:
    """Enqueue many tasks; return the context stored with each row."""
    scope = Enqueueing(QUEUE, None, len(task_ids))
    headers = []
    with bus.around(scope):
        for processor in processors:
            scope.processor = processor
            headers.append(bus.headers())
        scope.task_ids = task_ids
    return headers


def tick(number: int = 2) -> list[dict[str, str]]:
    """Enqueue the tasks of ticks; return the context stored with each row."""
    scope = Ticking(QUEUE)
    with bus.around(scope):
        headers = [bus.headers() for _ in range(number)]
        scope.number = number
    return headers


def refuse_to_enqueue(error: Exception, count: int = 1) -> None:
    """Begin to enqueue ``count`` tasks, and fail with ``error``, as the database would."""
    with bus.around(Enqueueing(QUEUE, PROCESSOR, count)):
        for _ in range(count):
            bus.headers()
        bus.emit(TaskEnqueueFailed, QUEUE, PROCESSOR, 10, ErrorInfo.of(error))
        raise error


def run_of(headers: Any = None, attempt: int = 1, **others: Any) -> Run:
    fields = {
        "id": TASK_ID,
        "processor": PROCESSOR,
        "queue": QUEUE,
        "priority": 10,
        "attempt": attempt,
        "retries": 0,
        "postpones": 0,
        "slot": SLOT,
        "generation": GENERATION,
        "wait_seconds": 0.25,
        "headers": headers,
    }
    return Run(**(fields | others))


def complete(headers: Any = None, propagation: str | None = None, **others: Any) -> None:
    run = run_of(headers, **others)
    with bus.around(Running(run, propagation)):
        bus.emit(TaskStarted, run)
        bus.emit(TaskCompleted, run, 1.5)


def postpone(headers: Any = None, reason: str | None = "later", **others: Any) -> dict[str, str]:
    """Run and postpone; return the context stored with the row afterwards."""
    run = run_of(headers, **others)
    with bus.around(Running(run, None)):
        bus.emit(TaskPostponed, run, 1.5, 60, reason)
        return merged(headers, bus.headers())


def retry(headers: Any = None, **others: Any) -> dict[str, str]:
    """Run and retry; return the context stored with the row afterwards."""
    run = run_of(headers, **others)
    with bus.around(Running(run, None)):
        bus.emit(TaskRetried, run, 1.5, 30.0, 2, ERROR)
        return merged(headers, bus.headers())


def fail(headers: Any = None, error: ErrorInfo = ERROR, **others: Any) -> None:
    run = run_of(headers, **others)
    with bus.around(Running(run, None)):
        bus.emit(TaskFailed, run, 1.5, "error", error)


def cancel(headers: Any = None, **others: Any) -> None:
    run = run_of(headers, **others)
    with bus.around(Running(run, None)):
        bus.emit(TaskCancelled, run, 1.5, ERROR)


def interrupted(*outcome: Any) -> None:
    """Run, emit ``outcome`` if there is one, and be interrupted."""
    run = run_of()
    with bus.around(Running(run, None)):
        if outcome:
            bus.emit(outcome[0], run, *outcome[1:])
        raise KeyboardInterrupt


def claimed(*rows: dict[str, str] | None, seconds: float = 0.5) -> None:
    """Emit a claim of tasks with these contexts."""
    contexts = tuple(json.dumps(row) for row in rows if row is not None)
    bus.emit(TasksClaimed, QUEUE, len(rows), tuple(range(min(len(rows), 100))), seconds, contexts)


def claimed_text(text: str) -> None:
    """Emit a claim of one task with this text as its context."""
    bus.emit(TasksClaimed, QUEUE, 1, (1,), 0.5, (text,))


def merged(headers: Mapping[str, str] | None, more: Mapping[str, str]) -> dict[str, str]:
    return {**(headers or {}), **more}


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def event(span: ReadableSpan, name: str) -> dict[str, Any]:
    """Return the attributes of the only event with a name."""
    [found] = [event for event in span.events if event.name == name]
    return dict(found.attributes or {})


def linked(span: ReadableSpan) -> list[int]:
    return [link.context.span_id for link in span.links]


def span_id(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.span_id
    return found


def trace_id(span: ReadableSpan) -> int:
    assert span.context is not None
    found: int = span.context.trace_id
    return found


def traceparent_of(span: ReadableSpan, flags: str = "") -> str:
    """Return the ``traceparent`` of ``span``, up to the given flags."""
    return f"00-{trace_id(span):032x}-{span_id(span):016x}{flags and '-'}{flags}"


def parent_id(span: ReadableSpan) -> int | None:
    return span.parent.span_id if span.parent else None


def assert_as_declared(span: ReadableSpan, declared: str) -> None:
    """Check name, kind, and every attribute's presence and type against the declaration."""
    spec = spans.SPANS[declared]
    found = attributes(span)
    allowed = {attribute.name: attribute for attribute in spans.ATTRIBUTES if declared in attribute.on}
    always = {name for name, attribute in allowed.items() if attribute.when is None}
    assert span.name.split()[0] == spec.operation
    assert span.kind is spec.kind
    assert set(found) <= set(allowed)
    assert always <= set(found)
    assert {name: type(value) for name, value in found.items()} == {
        name: allowed[name].type for name in found
    }
