"""Trace context that a row carries: written, read back, turned into links; and how to have no traces."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from django_partisan.telemetry_context import TRACEPARENT
from django_partisan.tracing.spans import LINK, LINK_PREVIOUS_RUN, LINKS_MAX, PREVIOUS_SPAN

ROOT: Final = Context()
"""A context without a span: what starts in it has no parent."""

_W3C: Final = TraceContextTextMapPropagator()

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
    """Return the span context that ``traceparent()`` wrote."""
    return span_context_of(_W3C.extract({TRACEPARENT: text}, ROOT)) if isinstance(text, str) else None


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # malformed, or far too deep
        return None
