"""Context managers for the spans around a ``delay()``, a ``bulk_delay()``, a batch of ticks and a run."""

from collections.abc import Callable
from contextvars import ContextVar
from itertools import chain, repeat
from time import time_ns
from typing import Any, Final, Generic, TypeVar

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, format_span_id

from django_partisan.telemetry.events.scopes import Enqueueing, Running, Scope, Ticking
from django_partisan.telemetry.events.values import ErrorInfo
from django_partisan.telemetry.trace_context import process_span_id
from django_partisan.tracing import spans
from django_partisan.tracing.context import injected
from django_partisan.tracing.runs import RunEnded, add_outcome, record_error
from django_partisan.tracing.traceparents import traceparent

Around = TypeVar("Around", bound=Scope)


class SpanScope(Generic[Around]):
    """A span that is the current span inside the scope."""

    has_outcome = False
    """Whether the span has an outcome, so that an exception that leaves the scope is not recorded."""

    def __init__(self, span: Span, scope: Around, base: Context | None = None) -> None:
        """Store the span, and the context to which it is added, by default the current one."""
        self.span = span
        self.scope = scope
        self._base = base

    def __enter__(self) -> None:
        self._outer = current.set(self)
        self._attached = context_api.attach(trace.set_span_in_context(self.span, self._base))

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        try:
            self.finish(error)
            if error is not None and not self.has_outcome:
                record_error(self.span, ErrorInfo.of(error))
        finally:
            self.span.end()
            context_api.detach(self._attached)
            current.reset(self._outer)

    def headers(self) -> dict[str, str]:
        """Return the headers for the row of the next task that is enqueued or put back."""
        return injected()

    def finish(self, error: BaseException | None) -> None:
        """Add to the span what is known at its end; ``error`` is the exception that leaves the scope."""


current: Final[ContextVar[SpanScope[Any] | None]] = ContextVar("partisan_span", default=None)
"""The innermost of these scopes."""


class SendScope(SpanScope[Enqueueing]):
    """The span of one ``delay()``."""

    def finish(self, error: BaseException | None) -> None:
        task_id = self.scope.task_ids[0] if self.scope.task_ids else self.scope.task_id
        if error is None and task_id is not None:
            self.span.set_attribute(spans.MESSAGE_ID, str(task_id))
            self.span.set_attribute(spans.DEDUPLICATED, self.scope.deduplicated)


class BatchScope(SpanScope[Enqueueing]):
    """The span of one ``bulk_delay()``, and a short span for each of its tasks."""

    def __init__(
        self, span: Span, scope: Enqueueing, start_create: Callable[[str, str | None], Span]
    ) -> None:
        """Store how to start a task's span, by the task's queue and processor."""
        super().__init__(span, scope)
        self._start_create = start_create
        self._created: list[tuple[Span, int]] = []

    def headers(self) -> dict[str, str]:
        """Return the next task's headers; ``scope.queue`` and ``scope.processor`` are already that task's."""
        create = self._start_create(self.scope.queue, self.scope.processor)
        # It is ended with the scope, once the row has an id, but with the current time as its end.
        self._created.append((create, time_ns()))
        self.span.add_link(create.get_span_context())
        return injected(trace.set_span_in_context(create))

    def finish(self, error: BaseException | None) -> None:
        task_ids = chain(self.scope.task_ids, repeat(None))  # none, or too few, if the operation failed
        for (create, ended_at), task_id in zip(self._created, task_ids, strict=False):
            if task_id is not None:
                create.set_attribute(spans.MESSAGE_ID, str(task_id))
            create.end(ended_at)


class TickScope(SpanScope[Ticking]):
    """The span of a batch of ticks."""

    def finish(self, error: BaseException | None) -> None:
        self.span.set_attribute(spans.MESSAGE_COUNT, self.scope.number)


class RunScope(SpanScope[Running]):
    """The span of one run."""

    def __enter__(self) -> None:
        super().__enter__()
        self._outer_id = process_span_id.set(format_span_id(self.span.get_span_context().span_id))

    def add_outcome(self, event: RunEnded) -> None:
        """Add the outcome of the run; the event has been emitted inside the scope."""
        self.has_outcome = True
        if self.span.is_recording():
            add_outcome(self.span, event, event.seconds, self.scope.run.slot, self.scope.run.generation)

    def headers(self) -> dict[str, str]:
        """Return the headers that are added to the run's own row if the task runs again."""
        text = traceparent(self.span)
        return {spans.PREVIOUS_SPAN: text} if text else {}

    def finish(self, error: BaseException | None) -> None:
        process_span_id.reset(self._outer_id)
