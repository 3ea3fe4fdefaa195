"""Fixtures: a subscriber that traces into memory, with the SDK's spans and with plain ones."""

import os
from collections.abc import Callable, Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.events.telemetry import TelemetryDropped
from django_partisan.tracing import TracingSubscriber
from django_partisan.tracing.provider import Provider
from tools.otlp_sink import OtlpSink

from .driving import SLOT

MANAGER_PID = 4711


class Recording:
    """The ended spans, and a tracer for a user's own spans."""

    def __init__(self, provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
        self.provider = provider
        self._exporter = exporter
        self.tracer = self.provider.get_tracer("the host")

    def spans(self, operation: str) -> list[ReadableSpan]:
        """Return the spans of an operation in the order of their start."""
        self.provider.force_flush()
        found = [span for span in self._exporter.get_finished_spans() if span.name.split()[0] == operation]
        return sorted(found, key=lambda span: span.start_time or 0)

    def span(self, operation: str) -> ReadableSpan:
        """Return the only span of an operation."""
        [found] = self.spans(operation)
        return found


def provider_of_a_host(exporter: InMemorySpanExporter) -> TracerProvider:
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def provider_of_our_own(exporter: InMemorySpanExporter) -> Provider:
    provider = Provider([exporter], Resource.create())
    assert provider.makes_plain_spans
    return provider


@pytest.fixture
def subscribe() -> Iterator[Callable[[bus.Subscriber], None]]:
    """Return a function that adds a subscriber; the application's own is removed, or it would record, too."""
    before = bus.subscribers()
    bus.exchange([one for one in before if isinstance(one, TracingSubscriber)], ())
    yield bus.subscribe
    bus.exchange(bus.subscribers(), before)


@pytest.fixture(params=[provider_of_a_host, provider_of_our_own])
def recording(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, subscribe
) -> Iterator[Recording]:
    """Record the SDK's spans, and plain ones; the subscriber must not raise during the test."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    exporter = InMemorySpanExporter()
    made = Recording(request.param(exporter), exporter)
    before = swallowed.counts["traces"]
    subscribe(TracingSubscriber(MANAGER_PID, tracer_provider=made.provider))
    yield made
    made.provider.shutdown()
    assert swallowed.counts["traces"] == before


@pytest.fixture
def traced(subscribe) -> Callable[[TracerProvider], None]:
    """Return a function that makes a provider trace as in a worker."""
    return lambda provider: subscribe(TracingSubscriber(MANAGER_PID, SLOT, tracer_provider=provider))


@pytest.fixture
def reported(subscribe) -> list[TelemetryDropped]:
    """Collect the events about dropped telemetry."""

    class Collecting(bus.Subscriber):
        def wants(self, kind) -> bool:
            return kind is TelemetryDropped

        def handle(self, event) -> None:
            events.append(event)

    events: list[TelemetryDropped] = []
    subscribe(Collecting())
    return events


@pytest.fixture
def no_sdk(monkeypatch: pytest.MonkeyPatch) -> list[trace.TracerProvider]:
    """Start without any tracing set up in environment or process; collect the providers that are set."""
    made: list[trace.TracerProvider] = []
    proxy = trace.ProxyTracerProvider()
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made[-1] if made else proxy)
    monkeypatch.setattr(trace, "set_tracer_provider", made.append)
    return made


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with OtlpSink() as made:
        yield made
