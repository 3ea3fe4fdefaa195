"""Read and write ``traceparent`` without the propagators, where they would do the same.

Every run reads one, and OpenTelemetry's default propagators take a tenth of the time that a worker spends on
a task that does nothing. Everything that this module does not recognize is left to them. Source: W3C Trace
Context, ``traceparent``.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from opentelemetry import propagate
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace import Span, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from django_partisan.telemetry.trace_context import TRACEPARENT

_OTHERS: Final = ("tracestate", "baggage")
"""The other headers that the default propagators read."""
_DEFAULT: Final = (TraceContextTextMapPropagator, W3CBaggagePropagator)
_VERSION_00: Final = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")


def remote_span(headers: Mapping[str, Any]) -> SpanContext | None:
    """Return the span context in a row's headers; ``None`` if the propagators have to parse them."""
    propagator = propagate.get_global_textmap()
    # A project's own propagator might not be hashable.
    is_default = type(propagator) is CompositePropagator and _has_default_parts(propagator)
    if not is_default or any(name in headers for name in _OTHERS):
        return None
    return parsed(headers.get(TRACEPARENT))


def parsed(text: Any) -> SpanContext | None:
    """Return the span context in a ``traceparent`` of version 00; ``None`` for anything else."""
    match = _VERSION_00.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    trace_id, span_id, flags = match.groups()
    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))


def traceparent(span: Span) -> str | None:
    """Return ``span`` as a ``traceparent`` of version 00, or ``None`` if its context is not valid."""
    ids = span.get_span_context()
    return f"00-{ids.trace_id:032x}-{ids.span_id:016x}-{ids.trace_flags:02x}" if ids.is_valid else None


@lru_cache(1)
def _has_default_parts(propagator: CompositePropagator) -> bool:
    """Return whether a propagator consists of exactly OpenTelemetry's default ones."""
    # The attribute is private: see private_apis.
    return tuple(map(type, getattr(propagator, "_propagators", ()))) == _DEFAULT
