"""Trace context that a row carries: written, read back, turned into links; and how to have no traces."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry import propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from django_partisan.telemetry.trace_context import TRACEPARENT, VERSION_00
from django_partisan.tracing.spans import LINK, LINK_PREVIOUS_RUN, LINKS_MAX, PREVIOUS_SPAN

ROOT: Final = Context()
"""A context without a span: what starts in it has no parent."""

_W3C: Final = TraceContextTextMapPropagator()
_OF_W3C: Final = {TraceContextTextMapPropagator, W3CBaggagePropagator}
_STATE: Final = "tracestate"
_BAGGAGE: Final = "baggage"

_known: tuple[TextMapPropagator | None, bool] = (None, False)
"""The propagator that was asked last, as there is but one, and what it said."""

# The key that instrumentations read is private in the API; the plain word is the older one, which
# they still read.
_SUPPRESSING: Final = (
    "suppress_instrumentation",
    getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"),
    getattr(context_api, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_http_instrumentation"),
)


def injected(context: Context | None = None) -> dict[str, str]:
    """Return what the global propagator writes for ``context``, by default the current one."""
    carrier: dict[str, str] = {}
    if context if context is not None else context_api.get_current():
        propagate.inject(carrier, context)
    return carrier


def extracted(headers: Any) -> Context:
    """Return the context that a row carries; a malformed one is an empty one."""
    if not headers or not isinstance(headers, Mapping):
        return ROOT
    if _STATE not in headers and _BAGGAGE not in headers and _means_w3c(propagate.get_global_textmap()):
        context = _parsed(headers.get(TRACEPARENT))
        if context is not None:
            return trace.set_span_in_context(NonRecordingSpan(context), ROOT)
    try:
        return propagate.extract(headers, ROOT)
    except Exception:  # whatever stands in the row, the task runs
        return ROOT


def span_context_of(context: Context) -> SpanContext | None:
    """Return the valid span context in ``context``, if there is one."""
    if not context:
        return None
    found = trace.get_current_span(context).get_span_context()
    return found if found.is_valid else None


def traceparent(span: trace.Span) -> str | None:
    """Return ``span`` as W3C text, whatever propagator is configured."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, ROOT))
    return carrier.get(TRACEPARENT)


def links_of_run(context: Context, headers: Any, attempt: int) -> list[Link]:
    """Return the links of a run: to who enqueued the task and, from the second on, to the run before."""
    links = []
    first = span_context_of(context)
    if first is not None:
        links.append(Link(first))
    if attempt > 1:
        previous = _parsed(headers.get(PREVIOUS_SPAN)) if isinstance(headers, Mapping) else None
        if previous is not None:
            links.append(Link(previous, {LINK: LINK_PREVIOUS_RUN}))
    return links


def links_to_tasks(contexts: Iterable[str]) -> list[Link]:
    """Return links to the enqueuers of the first tasks; ``contexts`` are their rows', as JSON text."""
    found = (span_context_of(extracted(_decoded(text))) for text in islice(contexts, LINKS_MAX))
    return [Link(context) for context in found if context is not None]


def links_to(traceparents: Iterable[str | None]) -> list[Link]:
    """Return links to the first of these spans."""
    found = (_parsed(text) for text in islice(filter(None, traceparents), LINKS_MAX))
    return [Link(context) for context in found if context is not None]


@contextmanager
def suppressed() -> Iterator[None]:
    """Have instrumentations of this thread (database drivers, HTTP clients) trace nothing."""
    context = context_api.get_current()
    for key in _SUPPRESSING:
        context = context_api.set_value(key, True, context)
    token = context_api.attach(context)
    try:
        yield
    finally:
        context_api.detach(token)


def _parsed(text: Any) -> SpanContext | None:
    """Return the span context that ``traceparent()`` wrote; anything else is ``None``."""
    match = VERSION_00.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    trace_id, span_id, flags = (int(number, 16) for number in match.groups())
    return SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(flags))


def _means_w3c(propagator: TextMapPropagator) -> bool:
    """Tell whether ``propagator`` is made of the API's own for W3C Trace Context, and perhaps baggage."""
    global _known
    known, answer = _known
    if known is not propagator:
        members = getattr(propagator, "_propagators", ()) if type(propagator) is CompositePropagator else ()
        kinds = {type(member) for member in members}
        answer = TraceContextTextMapPropagator in kinds and kinds <= _OF_W3C
        _known = (propagator, answer)
    return answer


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # malformed, or far too deep
        return None
