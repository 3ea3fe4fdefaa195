"""A subscriber that traces into memory, through a provider of its own."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from django_partisan.telemetry import bus
from django_partisan.tracing import TracingSubscriber
from django_partisan.tracing.light_span import LightSpan
from django_partisan.tracing.provider import Provider

MANAGER_PID = 4711


class Reading(InMemorySpanExporter):
    """An exporter that takes light spans, and keeps them as the SDK's exporters get them."""

    takes_light_spans = True

    def export(self, spans: Sequence[Any]) -> SpanExportResult:
        return super().export(
            [span.origin.readable(span) if isinstance(span, LightSpan) else span for span in spans]
        )


class Recording:
    """The spans that ended, and a tracer for spans of a user's own."""

    def __init__(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.provider = provider
        self._exporter = exporter
        self.tracer = self.provider.get_tracer("the host")

    def spans(self, operation: str) -> list[ReadableSpan]:
        """Return the spans of that operation in the order of their start."""
        self.provider.force_flush()
        found = [span for span in self._exporter.get_finished_spans() if span.name.split()[0] == operation]
        return sorted(found, key=lambda span: span.start_time or 0)

    def span(self, operation: str) -> ReadableSpan:
        """Return the only span of that operation."""
        [found] = self.spans(operation)
        return found


def provider_of_a_host(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def provider_of_our_own(exporter: InMemorySpanExporter) -> Provider:
    provider = Provider([exporter], Resource.create())
    assert provider.light_spans is not None
    return provider


@pytest.fixture(params=[provider_of_a_host, provider_of_our_own])
def recording(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recording]:
    """Record spans, those of the SDK's and light ones; the subscriber must not raise meanwhile."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    exporter = Reading()
    made = Recording(request.param(exporter), exporter)
    subscriber = TracingSubscriber(MANAGER_PID, tracer_provider=made.provider)
    # The application's own would trace it all again.
    applications = [one for one in bus.subscribers() if isinstance(one, TracingSubscriber)]
    for one in applications:
        bus.unsubscribe(one)
    before = bus.swallowed["traces"]
    bus.subscribe(subscriber)
    try:
        yield made
    finally:
        bus.unsubscribe(subscriber)
        made.provider.shutdown()
        for one in applications:
            bus.subscribe(one)
    assert bus.swallowed["traces"] == before
