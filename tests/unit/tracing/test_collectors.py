"""Spans that leave the process: through the SDK's batch processor and a real exporter to a real collector."""

import logging
import statistics
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from django_partisan import events
from django_partisan.facts import ErrorInfo
from django_partisan.tracing import TracingSubscriber, flush, losses
from django_partisan.tracing.exporting import CountingExporter, CountingProcessor
from lab.otlp_sink import OtlpSink

from .driving import complete, enqueue, fail, retry

Traced = Callable[..., TracerProvider]


@pytest.fixture(autouse=True)
def _no_losses_yet() -> Iterator[None]:
    others = losses.unsent[:]
    losses.unsent.clear()
    losses.taken()
    yield
    losses.taken()
    losses.unsent[:] = others


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with OtlpSink() as made:
        yield made


@pytest.fixture
def traced() -> Iterator[Traced]:
    """Return a function that has everything traced through an exporter, as our own set-up does."""
    undo: list[Callable[[], None]] = []

    def trace_through(exporter: SpanExporter, sampler=ALWAYS_ON) -> TracerProvider:
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(CountingProcessor(exporter))
        subscriber = TracingSubscriber(tracer_provider=provider)
        events.subscribe(subscriber)
        undo.extend([provider.shutdown, lambda: events.unsubscribe(subscriber)])
        return provider

    yield trace_through
    for step in reversed(undo):
        step()


def exporter_to(sink: OtlpSink) -> OTLPSpanExporter:
    return OTLPSpanExporter(f"{sink.url}/v1/traces", timeout=5)


class Held(SpanExporter):
    """An exporter that is held until it is let go."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.let_go = threading.Event()
        self.exported = 0

    def export(self, spans) -> SpanExportResult:
        self.entered.set()
        assert self.let_go.wait(30)
        self.exported += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.let_go.set()


class TestRealCollector:
    def test_a_task_is_followed_from_its_enqueueing_to_its_end(self, sink: OtlpSink, traced: Traced):
        provider = traced(exporter_to(sink))
        carried = retry(enqueue())
        complete(carried, attempt=2, retries=1)

        assert flush(10, provider)
        [send], [first, second] = sink.wait_for(1, "send"), sink.wait_for(2, "process")
        assert (send.kind, first.kind) == ("producer", "consumer")
        assert [link.span_id for link in second.links] == [send.span_id, first.span_id]
        assert (first.status, second.status) == ("error", "unset")
        assert [event.name for event in first.events] == ["exception", "task.retried"]
        assert second.attributes["partisan.task.attempt"] == 2
        assert second.attributes["partisan.task.wait_seconds"] == 0.25
        assert send.attributes["partisan.task.deduplicated"] is False

    def test_text_that_cannot_be_encoded_does_not_cost_the_batch(
        self, sink: OtlpSink, traced: Traced, monkeypatch: pytest.MonkeyPatch
    ):
        # pytest would keep the log line for its report, which pytest-xdist cannot encode.
        monkeypatch.setattr(logging.getLogger("django_partisan.app"), "disabled", True)
        provider = traced(exporter_to(sink))
        fail(error=ErrorInfo("Broken", "half \ud83d of a pair", "trace \udc80"))
        complete()

        assert flush(10, provider)
        failed, _ = sink.wait_for(2, "process")
        assert failed.status_message == "half ? of a pair"

    def test_slow_collector_does_not_hold_a_run(self, sink: OtlpSink, traced: Traced):
        sink.delay_seconds = 3.0
        provider = traced(exporter_to(sink))
        complete()
        flush(0.2, provider)  # from here on an export is under way

        seconds = []
        for _ in range(200):
            began = time.perf_counter()
            complete()
            seconds.append(time.perf_counter() - began)

        waited_for = (sink.requests, len(sink.spans))
        sink.let_go()

        assert waited_for == (1, 0)
        assert statistics.median(seconds) < 0.001

    def test_flush_gives_up_in_time_on_a_collector_that_never_answers(self, sink: OtlpSink, traced: Traced):
        sink.mode = "hang"
        provider = traced(exporter_to(sink))
        subscriber = TracingSubscriber(tracer_provider=provider)
        complete()

        began = time.monotonic()
        subscriber.close(0.3)

        seconds = time.monotonic() - began
        sink.let_go()

        assert 0.3 <= seconds < 1.5

    def test_spans_of_a_provider_of_the_host_are_flushed_too(self, sink: OtlpSink):
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        host = TracerProvider(shutdown_on_exit=False)
        host.add_span_processor(BatchSpanProcessor(exporter_to(sink)))
        subscriber = TracingSubscriber(tracer_provider=host)
        with host.get_tracer("the host").start_as_current_span("of the host"):
            pass
        subscriber.close(10)
        host.shutdown()

        assert [span.name for span in sink.spans] == ["of the host"]


class TestLosses:
    def test_refused_spans_are_counted(self, sink: OtlpSink, traced: Traced):
        sink.mode = "refuse"
        provider = traced(exporter_to(sink))
        complete()
        complete()
        flush(10, provider)

        assert losses.taken() == {"span_export_failed": 2}

    def test_spans_for_which_the_queue_has_no_room_are_counted(
        self, traced: Traced, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
        exporter = Held()
        provider = traced(exporter)
        complete()
        assert not flush(0.2, provider)
        assert exporter.entered.wait(10)
        for _ in range(14):
            complete()

        assert losses.taken() == {"span_queue_full": 4}
        exporter.let_go.set()
        assert flush(10, provider)
        assert exporter.exported == 11

    def test_spans_that_are_left_when_nobody_waits_for_them_are_counted(self, traced: Traced):
        exporter = Held()
        provider = traced(exporter)
        for _ in range(3):
            complete()
        assert not flush(0.2, provider)
        complete()
        losses.count_unsent()

        assert losses.taken() == {"span_not_flushed": 4}
        exporter.let_go.set()
        assert flush(10, provider)
        losses.count_unsent()
        assert losses.taken() == {}

    def test_spans_that_are_not_sampled_are_no_loss(self, traced: Traced, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
        traced(Held(), ALWAYS_OFF)
        for _ in range(5):
            complete()

        assert losses.taken() == {}

    def test_exporter_that_raises_loses_its_spans_and_no_run(self):
        class Raising(Held):
            def export(self, spans) -> SpanExportResult:
                raise OSError("disk full")

        exporter = CountingExporter(Raising())

        with pytest.raises(OSError, match="disk full"):
            exporter.export([])
        assert losses.taken() == {"span_export_failed": 0}

    def test_exporters_own_flush_is_asked(self):
        asked = []

        class Flushed(Held):
            def force_flush(self, timeout_millis: int = 30000) -> bool:
                asked.append(timeout_millis)
                return True

        assert CountingExporter(Flushed()).force_flush(7)
        assert asked == [7]


class TestFlush:
    def test_provider_that_cannot_flush_is_flushed(self):
        from opentelemetry.trace import NoOpTracerProvider

        assert flush(0.1, NoOpTracerProvider())

    def test_provider_that_raises_is_no_timeout(self):
        class Raising(TracerProvider):
            def force_flush(self, timeout_millis: int = 30000) -> bool:
                raise RuntimeError

        before = events.swallowed["traces"]

        assert flush(10, Raising(shutdown_on_exit=False))
        assert events.swallowed["traces"] == before + 1
