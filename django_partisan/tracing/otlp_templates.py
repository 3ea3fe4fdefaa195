"""Encode ended spans as OTLP messages, using templates for completed runs, which are very similar.

A template is the message that the library's encoder produced for the first such span, so everything that
stays the same is encoded by the library. Source: ``opentelemetry.proto.trace.v1``.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span
from opentelemetry.sdk.trace import ReadableSpan

from django_partisan.tracing import spans
from django_partisan.tracing.attributes import Attributes
from django_partisan.tracing.light_spans import LightSpan

TEMPLATES_MAX: Final = 250
"""The maximum number of templates, about 6 kB each; further kinds of spans are encoded without one."""


class Templates:
    """An encoder for the spans of one process, whose light spans all have the same origin."""

    def __init__(self, most: int = TEMPLATES_MAX) -> None:
        self._most = most
        self._known: dict[tuple[Any, ...], Template] = {}
        self._envelope: ResourceSpans | None = None

    def encode(self, ended: Iterable[ReadableSpan]) -> bytes:
        """Return the OTLP request for these spans."""
        filled: list[tuple[Template, LightSpan]] = []
        others: list[ReadableSpan] = []
        for span in ended:
            if isinstance(span, LightSpan) and (template := self._template(span)) is not None:
                filled.append((template, span))
            else:
                others.append(span)
        request = encode_spans(others)
        if filled:
            envelope = request.resource_spans.add()
            envelope.CopyFrom(self._envelope)
            for template, span in filled:
                template.fill(envelope.scope_spans[0].spans.add(), span)
        encoded: bytes = request.SerializeToString()
        return encoded

    def _template(self, span: LightSpan) -> "Template | None":
        if span.ids.trace_state or any(link.context.trace_state for link in span.first_links):
            return None  # it may contain any text
        key = _likeness(span)
        template = self._known.get(key)
        if template is None and len(self._known) < self._most:
            made = encode_spans([span]).resource_spans[0]
            message = made.scope_spans[0].spans.pop()
            if self._envelope is None:  # the resource and scope, which are the same for all
                self._envelope = made
            # After parsing it again, the message shares no memory with the one that contained it.
            template = Template(span.common, Span.FromString(message.SerializeToString()))
            self._known[key] = template
        return template


class Template:
    """The message of one span, with the positions of the values that differ in similar spans."""

    def __init__(self, common: Attributes, message: Span) -> None:
        self._common = common  # keeps the object alive: its id is part of the key and must not be reused
        self._message = message
        self._message_id = _place(message.attributes, spans.MESSAGE_ID)
        self._wait = _place(message.attributes, spans.WAIT_SECONDS)
        self._duration = _place(message.events[0].attributes, spans.EVENT_DURATION)

    def fill(self, message: Span, span: LightSpan) -> None:
        """Fill ``message`` with the content of ``span``."""
        message.CopyFrom(self._message)
        ids, parent = span.ids, span.parent_ids
        message.trace_id = ids.trace_id.to_bytes(16, "big")
        message.span_id = ids.span_id.to_bytes(8, "big")
        if parent is not None:
            message.parent_span_id = parent.span_id.to_bytes(8, "big")
        message.start_time_unix_nano, message.end_time_unix_nano = span.started_at, span.ended_at or 0
        attributes, event = message.attributes, message.events[0]
        attributes[self._message_id].value.string_value = str(span.run.id)
        attributes[self._wait].value.double_value = span.run.wait_seconds
        event.time_unix_nano = span.completed_at
        event.attributes[self._duration].value.int_value = span.fields[spans.EVENT_DURATION]
        for link, linked in zip(message.links, span.first_links, strict=True):
            link.trace_id = linked.context.trace_id.to_bytes(16, "big")
            link.span_id = linked.context.span_id.to_bytes(8, "big")


def _likeness(span: LightSpan) -> tuple[Any, ...]:
    """Return everything that the message of a span depends on, except what ``fill()`` writes."""
    run, parent, links = span.run, span.parent_ids, span.first_links
    return (
        id(span.common),
        span.first_name,
        run.attempt,
        run.retries,
        run.postpones,
        run.priority,
        run.generation,
        span.ids.trace_flags,
        parent and (parent.is_remote, parent.trace_flags),
        *[(link.context.is_remote, link.context.trace_flags, bool(link.attributes)) for link in links],
    )


def _place(attributes: Sequence[Any], name: str) -> int:
    return [attribute.key for attribute in attributes].index(name)
