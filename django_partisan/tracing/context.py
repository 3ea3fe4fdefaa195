"""Write OpenTelemetry's context to tasks' rows and read it from them; suppress instrumentations."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from opentelemetry import context as context_api
from opentelemetry import propagate, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext

from django_partisan.tracing.traceparents import remote_span

ROOT: Final = Context()
"""A context without a span: a span started in it has no parent."""

# The key that instrumentations read is private in the API; the plain word is the older key, which they still
# read.
_SUPPRESSING: Final = (
    "suppress_instrumentation",
    getattr(context_api, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation"),
    getattr(context_api, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", "suppress_http_instrumentation"),
)


def injected(context: Context | None = None) -> dict[str, str]:
    """Return the headers that the global propagator writes for ``context``, by default the current one."""
    carrier: dict[str, str] = {}
    if context if context is not None else context_api.get_current():
        propagate.inject(carrier, context)
    return carrier


def extracted(headers: Any) -> tuple[Context, SpanContext | None]:
    """Return the context that a row carries, and the span that enqueued its task.

    A malformed context is treated as empty. The context may lack the span: use ``with_remote_parent()``.
    """
    if not headers or not isinstance(headers, dict):
        return ROOT, None
    enqueuer = remote_span(headers)
    if enqueuer is not None:
        return ROOT, enqueuer
    try:
        context = propagate.extract(headers, ROOT)
    except Exception:  # the task runs, whatever the row carries
        return ROOT, None
    return context, span_context_of(context)


def with_remote_parent(parent: SpanContext | None, context: Context) -> Context:
    """Return ``context`` with ``parent``, if there is one, as the parent of spans started in it."""
    return context if parent is None else trace.set_span_in_context(trace.NonRecordingSpan(parent), context)


def span_context_of(context: Context) -> SpanContext | None:
    """Return the valid span context in ``context``, or ``None``."""
    if not context:
        return None
    found = trace.get_current_span(context).get_span_context()
    return found if found.is_valid else None


@contextmanager
def suppressed() -> Iterator[None]:
    """Suppress instrumentations in this thread (database drivers, HTTP clients)."""
    context = context_api.get_current()
    for key in _SUPPRESSING:
        context = context_api.set_value(key, True, context)
    token = context_api.attach(context)
    try:
        yield
    finally:
        context_api.detach(token)
