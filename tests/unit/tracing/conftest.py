"""A subscriber that traces into memory, through a provider of its own."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from django_partisan import events
from django_partisan.tracing import TracingSubscriber

MANAGER_PID = 4711


class Recording:
    """The spans that ended, and a tracer for spans of a user's own."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("the host")

    def spans(self, operation: str) -> list[ReadableSpan]:
        """Return the spans of that operation in the order of their start."""
        found = [span for span in self._exporter.get_finished_spans() if span.name.split()[0] == operation]
        return sorted(found, key=lambda span: span.start_time or 0)

    def span(self, operation: str) -> ReadableSpan:
        """Return the only span of that operation."""
        [found] = self.spans(operation)
        return found


@pytest.fixture
def recording() -> Iterator[Recording]:
    """Record spans; the subscriber must not raise meanwhile."""
    made = Recording()
    subscriber = TracingSubscriber(MANAGER_PID, tracer_provider=made.provider)
    # The application's own would trace it all again.
    applications = [one for one in events.subscribers() if isinstance(one, TracingSubscriber)]
    for one in applications:
        events.unsubscribe(one)
    before = events.swallowed["traces"]
    events.subscribe(subscriber)
    try:
        yield made
    finally:
        events.unsubscribe(subscriber)
        made.provider.shutdown()
        for one in applications:
            events.subscribe(one)
    assert events.swallowed["traces"] == before
