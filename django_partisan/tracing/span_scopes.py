"""Context managers for the spans around a ``delay()``, a ``bulk_delay()``, a batch of ticks and a run."""

from contextvars import ContextVar
from time import time_ns
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, Tracer, format_span_id

from django_partisan import outcomes
from django_partisan.telemetry.events.runs import (
    TaskCancelled,
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
)
from django_partisan.telemetry.events.scopes import Enqueueing, Ticking
from django_partisan.telemetry.events.values import ErrorInfo, Run
from django_partisan.telemetry.trace_context import process_span_id
from django_partisan.tracing import spans
from django_partisan.tracing.attributes import Attributes, SpanDescriptions, message, stack_trace
from django_partisan.tracing.context import ROOT, injected
from django_partisan.tracing.traceparents import traceparent

NANOSECONDS: Final = 1_000_000_000

RunEnded = TaskCompleted | TaskPostponed | TaskRetried | TaskFailed | TaskCancelled
OUTCOMES: Final[dict[type, tuple[str, str]]] = {
    TaskCompleted: (outcomes.COMPLETED, "success"),
    TaskPostponed: (outcomes.POSTPONED, "unknown"),
    TaskRetried: (outcomes.RETRIED, "failure"),
    TaskFailed: (outcomes.FAILED, "failure"),
    TaskCancelled: (outcomes.CANCELLED, "unknown"),
}
"""For each event that ends a run: the outcome, and ``event.outcome``."""


class SpanScope:
    """A span that is the current span inside the scope."""

    __slots__ = ("_attached", "_base", "_outer", "span")

    def __init__(self, span: Span, base: Context | None = None) -> None:
        """Store the span and the context to which it is added, by default the current one."""
        self.span = span
        self._base = base

    def __enter__(self) -> None:
        self._outer = current.set(self)
        self._attached = context_api.attach(trace.set_span_in_context(self.span, self._base))

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        try:
            self.finish(error)
        finally:
            self.span.end()
            context_api.detach(self._attached)
            current.reset(self._outer)

    def headers(self) -> dict[str, str]:
        """Return the headers for the row of the next task that is enqueued or put back."""
        return injected()

    def finish(self, error: BaseException | None) -> None:
        """Add to the span what is known at its end; ``error`` is the exception that leaves the scope."""
        if error is not None:
            record_error(self.span, ErrorInfo.of(error))


current: Final[ContextVar[SpanScope | None]] = ContextVar("partisan_span", default=None)
"""The innermost of these scopes."""


class SendScope(SpanScope):
    """The span of one ``delay()``."""

    __slots__ = ("_scope",)

    def __init__(self, span: Span, scope: Enqueueing) -> None:
        super().__init__(span)
        self._scope = scope

    def finish(self, error: BaseException | None) -> None:
        super().finish(error)
        scope = self._scope
        task_id = scope.task_ids[0] if scope.task_ids else scope.task_id
        if error is None and task_id is not None:
            self.span.set_attribute(spans.MESSAGE_ID, str(task_id))
            self.span.set_attribute(spans.DEDUPLICATED, scope.deduplicated)


class BatchScope(SpanScope):
    """The span of one ``bulk_delay()``, and a short span for each of its tasks."""

    __slots__ = ("_created", "_descriptions", "_scope", "_tracer")

    def __init__(self, span: Span, scope: Enqueueing, tracer: Tracer, descriptions: SpanDescriptions) -> None:
        super().__init__(span)
        self._scope = scope
        self._tracer = tracer
        self._descriptions = descriptions
        self._created: list[tuple[Span, int]] = []

    def headers(self) -> dict[str, str]:
        """Return the next task's headers; ``scope.queue`` and ``scope.processor`` are already that task's."""
        name, attributes = self._descriptions.of(spans.CREATE, self._scope.queue, self._scope.processor)
        kind = spans.SPANS[spans.CREATE].kind
        create = self._tracer.start_span(name, kind=kind, attributes=attributes)
        # It is ended with the scope, once the row has an id, but with the current time as its end.
        self._created.append((create, time_ns()))
        self.span.add_link(create.get_span_context())
        return injected(trace.set_span_in_context(create))

    def finish(self, error: BaseException | None) -> None:
        task_ids = iter(self._scope.task_ids)
        for create, ended_at in self._created:
            task_id = next(task_ids, None)
            if task_id is not None:
                create.set_attribute(spans.MESSAGE_ID, str(task_id))
            create.end(ended_at)
        super().finish(error)


class TickScope(SpanScope):
    """The span of a batch of ticks."""

    __slots__ = ("_scope",)

    def __init__(self, span: Span, scope: Ticking) -> None:
        super().__init__(span, ROOT)
        self._scope = scope

    def finish(self, error: BaseException | None) -> None:
        super().finish(error)
        self.span.set_attribute(spans.MESSAGE_COUNT, self._scope.number)


class RunScope(SpanScope):
    """The span of one run."""

    __slots__ = ("_has_outcome", "_outer_id", "run")

    def __init__(self, span: Span, base: Context, run: Run) -> None:
        super().__init__(span, base)
        self.run = run
        self._has_outcome = False

    def __enter__(self) -> None:
        super().__enter__()
        self._outer_id = process_span_id.set(format_span_id(self.span.get_span_context().span_id))

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        process_span_id.reset(self._outer_id)
        super().__exit__(kind, error, tb)

    def headers(self) -> dict[str, str]:
        """Return the headers that are added to the run's own row if the task runs again."""
        text = traceparent(self.span)
        return {spans.PREVIOUS_SPAN: text} if text else {}

    def add_outcome(self, event: RunEnded) -> None:
        """Add the outcome: attributes, status, and one span event with the fields of the log event."""
        self._has_outcome = True
        span = self.span
        if not span.is_recording():
            return
        outcome, event_outcome = OUTCOMES[type(event)]
        fields: Attributes = {spans.EVENT_OUTCOME: event_outcome}
        if event.seconds is not None:
            fields[spans.EVENT_DURATION] = int(event.seconds * NANOSECONDS)
        fields[spans.WORKER_SLOT] = self.run.slot
        fields[spans.WORKER_GENERATION] = self.run.generation
        span.set_attribute(spans.OUTCOME, outcome)
        if isinstance(event, TaskPostponed | TaskRetried):
            span.set_attribute(spans.DELAY_SECONDS, float(event.delay_seconds))
        if isinstance(event, TaskRetried | TaskFailed):
            record_error(span, event.error)
        if isinstance(event, TaskRetried):
            fields[spans.RETRIES_LEFT] = event.retries_left
        elif isinstance(event, TaskPostponed | TaskFailed) and event.reason is not None:
            fields[spans.EVENT_REASON] = message(event.reason)
        elif isinstance(event, TaskCancelled):
            fields[spans.EVENT_REASON] = message(event.error.message)
        span.add_event(f"task.{outcome}", fields)

    def finish(self, error: BaseException | None) -> None:
        if not self._has_outcome:
            super().finish(error)


def record_error(span: Span, error: ErrorInfo) -> None:
    """Set the span's status and record the exception."""
    text = message(error.message)
    span.set_status(Status(StatusCode.ERROR, text))
    span.set_attribute(spans.ERROR_TYPE, error.type)
    exception: Attributes = {
        spans.EXCEPTION_TYPE: error.type,
        spans.EXCEPTION_MESSAGE: text,
        spans.EXCEPTION_STACKTRACE: stack_trace(error.stack_trace),
    }
    span.add_event(spans.EXCEPTION, exception)
