"""The spans around a ``delay()`` and a ``bulk_delay()``, as context managers, and what all of these share."""

from abc import ABC, abstractmethod
from contextvars import ContextVar, Token
from time import time_ns
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, Status, StatusCode, Tracer

from django_partisan.telemetry.events import Enqueueing, ErrorInfo
from django_partisan.tracing import spans
from django_partisan.tracing.attributes import Attributes, Describing, message, stack_trace
from django_partisan.tracing.carrying import injected


class Around(ABC):
    """A span that is current in its scope; ``headers()`` are those of a task enqueued or put back in it."""

    __slots__ = ("_attached", "_within", "span")

    def __init__(self, span: Span) -> None:
        self.span = span

    def __enter__(self) -> None:
        self._within: Token[Around | None] = current.set(self)
        self._attached = context_api.attach(trace.set_span_in_context(self.span, self.base()))

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        try:
            if self.span.is_recording():
                self.conclude(error)
        finally:
            self.span.end()
            context_api.detach(self._attached)
            current.reset(self._within)

    def base(self) -> Context | None:
        """Return the context to which the span is added; ``None`` is the current one."""
        return None

    @abstractmethod
    def headers(self) -> dict[str, str]:
        """Return what the next task's row is to carry."""

    @abstractmethod
    def conclude(self, error: BaseException | None) -> None:
        """Add to the recording span what is known at its end; ``error`` leaves the scope."""


current: Final[ContextVar[Around | None]] = ContextVar("partisan_span", default=None)
"""The innermost of these scopes."""


class SendScope(Around):
    """The span of one ``delay()``."""

    __slots__ = ("_scope",)

    def __init__(self, span: Span, scope: Enqueueing) -> None:
        super().__init__(span)
        self._scope = scope

    def headers(self) -> dict[str, str]:
        return injected()

    def conclude(self, error: BaseException | None) -> None:
        if error is not None:
            record_error(self.span, ErrorInfo.of(error))
            return
        scope = self._scope
        task_id = scope.task_ids[0] if scope.task_ids else scope.task_id
        if task_id is not None:
            self.span.set_attribute(spans.MESSAGE_ID, str(task_id))
            self.span.set_attribute(spans.DEDUPLICATED, scope.deduplicated)


class BatchScope(Around):
    """The span of one ``bulk_delay()``, and a short one of each of its tasks."""

    __slots__ = ("_created", "_describing", "_scope", "_tracer")

    def __init__(self, span: Span, scope: Enqueueing, tracer: Tracer, describing: Describing) -> None:
        super().__init__(span)
        self._scope = scope
        self._tracer = tracer
        self._describing = describing
        self._created: list[tuple[Span, int]] = []

    def headers(self) -> dict[str, str]:
        """Return the next task's; ``scope.queue`` and ``scope.processor`` are that task's now."""
        queue, processor = self._scope.queue, self._scope.processor
        create = self._tracer.start_span(
            self._describing.name(spans.CREATE, queue, processor),
            kind=spans.SPANS[spans.CREATE].kind,
            attributes=self._describing.common(spans.CREATE, queue, processor),
        )
        # Ended at the end of the scope, when the row has an id, with the time of now.
        self._created.append((create, time_ns()))
        self.span.add_link(create.get_span_context())
        return injected(trace.set_span_in_context(create))

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        try:
            for place, (create, ended_at) in enumerate(self._created):
                if place < len(self._scope.task_ids):
                    create.set_attribute(spans.MESSAGE_ID, str(self._scope.task_ids[place]))
                create.end(ended_at)
        finally:
            super().__exit__(kind, error, tb)

    def conclude(self, error: BaseException | None) -> None:
        if error is not None:
            record_error(self.span, ErrorInfo.of(error))


def record_error(span: Span, error: ErrorInfo) -> None:
    """Set the status and record the exception, once."""
    told = message(error.message)
    span.set_status(Status(StatusCode.ERROR, told))
    span.set_attribute(spans.ERROR_TYPE, error.type)
    exception: Attributes = {
        spans.EXCEPTION_TYPE: error.type,
        spans.EXCEPTION_MESSAGE: told,
        spans.EXCEPTION_STACKTRACE: stack_trace(error.stack_trace),
    }
    span.add_event(spans.EXCEPTION, exception)
