"""Capture the spans of a ``with`` block, however OpenTelemetry is configured."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from django_partisan.telemetry import bus
from django_partisan.tracing.subscriber import TracingSubscriber


class CapturedSpans(list[ReadableSpan]):
    """Spans of OpenTelemetry's SDK, in the order in which they ended."""

    @property
    def names(self) -> list[str]:
        """The names of the spans."""
        return [span.name for span in self]

    def named(self, name: str) -> list[ReadableSpan]:
        """Return the spans with this name."""
        return [span for span in self if span.name == name]


@contextmanager
def captured_spans() -> Iterator[CapturedSpans]:
    """Capture the library's spans that this process creates in a ``with`` block.

    They are not exported: an SDK that the project has configured does not receive them.
    """
    captured = CapturedSpans()
    instead = TracingSubscriber(tracer_provider=_provider())
    others = [one for one in bus.subscribers() if isinstance(one, TracingSubscriber)]
    _captures.append(captured)
    bus.exchange(others, [instead])
    try:
        yield captured
    finally:
        bus.exchange([instead], others)
        _captures[:] = [one for one in _captures if one is not captured]


_captures: list[CapturedSpans] = []


class _Collector(SpanProcessor):
    def on_end(self, span: ReadableSpan) -> None:
        for captured in _captures:
            captured.append(span)


@cache
def _provider() -> TracerProvider:
    """Return a provider that no environment variable disables, and that does not delay the process exit."""
    is_disabled = os.environ.pop(OTEL_SDK_DISABLED, None)
    try:
        provider = TracerProvider(ALWAYS_ON, Resource.get_empty(), shutdown_on_exit=False)
    finally:
        if is_disabled is not None:  # pragma: no cover: child process
            os.environ[OTEL_SDK_DISABLED] = is_disabled
    provider.add_span_processor(_Collector())
    return provider
