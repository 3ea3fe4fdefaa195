"""The library's own spans: recorded in plain containers, in a third of the time that the SDK's spans take.

The SDK checks and copies each value into containers with locks. A plain span keeps dicts and tuples, and
replaces one with the SDK's container as soon as a value in it has to be checked or dropped.
"""

import logging
import threading
from collections.abc import Mapping, Sequence
from time import time_ns
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)
from opentelemetry.util.types import Attributes, AttributeValue

from django_partisan import __version__
from django_partisan.telemetry.events.values import ErrorInfo
from django_partisan.tracing import spans
from django_partisan.tracing.context import span_context_of

LIMIT: Final = 128
"""The maximum number of attributes, events and links: the SDK's default. The newest ones are kept."""
_NEED_NO_CHECK: Final = frozenset((str, int, float, bool))
_TEXT: Final = frozenset((str,))
_RANDOM: Final = getattr(TraceFlags, "RANDOM_TRACE_ID", 0)
"""The flag of W3C Trace Context level 2, which older SDKs do not set."""
_logger: Final = logging.getLogger("opentelemetry.sdk.trace")
"""The SDK's logger, so that warnings about spans are limited together."""


class PlainTracer(Tracer):
    """A tracer that starts plain spans, with the ids, sampler, resource and processors of an SDK tracer."""

    def __init__(self, sdk: SdkTracer) -> None:
        self.processor: Any = sdk.span_processor
        self.scope = InstrumentationScope(spans.TRACER, __version__)
        self.sdk = sdk
        self._ids = sdk.id_generator
        is_random = getattr(self._ids, "is_trace_id_random", lambda: False)
        self._flag_of_roots = _RANDOM if is_random() else 0

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = (),
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Start a span as the SDK does; an error that leaves a ``with`` block of it is always recorded."""
        context = context_api.get_current() if context is None else context
        parent = span_context_of(context)
        trace_id = self._ids.generate_trace_id() if parent is None else parent.trace_id
        sampling = self.sdk.sampler.should_sample(context, trace_id, name, kind, attributes, links)
        flags = self._flag_of_roots if parent is None else parent.trace_flags & _RANDOM
        ids = SpanContext(
            trace_id,
            self._ids.generate_span_id(),
            is_remote=False,
            trace_flags=TraceFlags(flags | (sampling.decision is Decision.RECORD_AND_SAMPLE)),
            trace_state=sampling.trace_state,
        )
        if sampling.decision is Decision.DROP:
            return NonRecordingSpan(ids)
        span = PlainSpan(
            self, name, ids, parent, kind, _updated({}, sampling.attributes), links or (), start_time
        )
        self.processor.on_start(span, parent_context=context)
        return span

    def start_as_current_span(self, *args: Any, **options: Any) -> Any:
        """Start a span of the SDK; the library itself makes its spans current in scopes instead."""
        return self.sdk.start_as_current_span(*args, **options)


class PlainSpan(Span, ReadableSpan):
    """A recording span; when it ends, it is passed to the span processors."""

    def __init__(
        self,
        tracer: PlainTracer,
        name: str,
        ids: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        attributes: dict[str, AttributeValue],
        links: Sequence[Link],
        start_time: int | None,
    ) -> None:
        ReadableSpan.__init__(
            self,
            name,
            ids,
            parent,
            tracer.sdk.resource,  # which may be replaced after a fork
            attributes,
            links=BoundedList.from_seq(LIMIT, links) if len(links) > LIMIT else tuple(links),
            kind=kind,
            start_time=time_ns() if start_time is None else start_time,
            instrumentation_scope=tracer.scope,
        )
        self._ids = ids
        self._processor = tracer.processor
        self._lock = threading.Lock()  # threads of a task may write to its span, also while it ends

    def __repr__(self) -> str:
        return f'{type(self).__name__}(name="{self.name}", context={self._ids})'

    def get_span_context(self) -> SpanContext:
        return self._ids

    def is_recording(self) -> bool:
        return self._end_time is None

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        with self._lock:
            if self._is_open():
                self._attributes = _updated(self._attributes, attributes)

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        event = Event(name, _updated({}, attributes or {}), timestamp)
        with self._lock:
            if self._is_open():
                self._events = _appended(self._events, event)

    def add_link(self, context: SpanContext | None, attributes: Attributes = None) -> None:
        if context is not None and (context.is_valid or attributes or context.trace_state):
            link = Link(context, _updated({}, attributes or {}))
            with self._lock:
                if self._is_open():
                    self._links = _appended(self._links, link)

    def update_name(self, name: str) -> None:
        with self._lock:
            if self._is_open():
                self._name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Set the status, unless the new one is UNSET or the current one is OK, which is final."""
        if isinstance(status, StatusCode):
            status = Status(status, description)
        elif not isinstance(status, Status):
            return
        with self._lock:
            if self._is_open() and self._status.status_code is not StatusCode.OK and not status.is_unset:
                self._status = status

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        error = ErrorInfo.of(exception)
        recorded = {
            spans.EXCEPTION_TYPE: error.type,
            spans.EXCEPTION_MESSAGE: error.message,
            spans.EXCEPTION_STACKTRACE: error.stack_trace,
            spans.EXCEPTION_ESCAPED: str(escaped),
            **(attributes or {}),
        }
        self.add_event(spans.EXCEPTION, recorded, timestamp)

    def __exit__(self, kind: Any, error: BaseException | None, tb: Any) -> None:
        if error is not None and self.is_recording():
            self.record_exception(error, escaped=True)
            self.set_status(StatusCode.ERROR, f"{type(error).__name__}: {error}")
        super().__exit__(kind, error, tb)

    def end(self, end_time: int | None = None) -> None:
        with self._lock:
            if not self._is_open():
                return
            self._end_time = time_ns() if end_time is None else end_time
        self._processor.on_end(self)

    def _is_open(self) -> bool:
        if self._end_time is not None:
            _logger.warning("Ignored a change of the span %r, which has ended.", self._name)
        return self._end_time is None


def _updated(attributes: Any, more: Mapping[str, AttributeValue]) -> Any:
    """Return ``attributes`` with ``more``: still a dict if no value has to be checked or dropped."""
    if (
        type(attributes) is dict
        and len(attributes) + len(more) <= LIMIT
        and _NEED_NO_CHECK.issuperset(map(type, more.values()))
        and _TEXT.issuperset(map(type, more))
        and "" not in more
    ):
        return {**attributes, **more}  # a copy: another thread may be reading the present ones
    if type(attributes) is dict:
        attributes = BoundedAttributes(LIMIT, attributes, immutable=False)
    attributes.update(more)
    return attributes


def _appended(items: Any, item: Any) -> Any:
    """Return ``items`` with ``item``: still a tuple if none has to be dropped."""
    if len(items) < LIMIT:
        return (*items, item)
    if isinstance(items, tuple):
        items = BoundedList.from_seq(LIMIT, items)
    items.append(item)
    return items
