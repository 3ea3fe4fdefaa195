"""Spans that leave the process: through the SDK's batch processor and a real exporter to a real collector."""

import logging
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from requests import Request
from requests.adapters import HTTPAdapter

from django_partisan.telemetry import bus
from django_partisan.telemetry.events import ErrorInfo
from django_partisan.tracing import TracingSubscriber, flush, losses, otlp_http
from django_partisan.tracing.exporting import CountingExporter
from django_partisan.tracing.otlp_http import TemplateExporter
from django_partisan.tracing.provider import Provider
from tools.otlp_sink import OtlpSink

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


@pytest.fixture(params=["heavy", "light"])
def traced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Traced]:
    """Return a function that has everything traced through an exporter, as our own set-up does.

    Once with spans of the SDK's alone, once with light ones.
    """
    undo: list[Callable[[], None]] = []

    def trace_through(exporter: SpanExporter, sampler: str = "always_on") -> TracerProvider:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        provider = Provider([exporter], Resource.create())
        if request.param == "heavy":
            provider.light_spans = None
        assert (provider.light_spans is not None) == (request.param == "light")
        subscriber = TracingSubscriber(tracer_provider=provider)
        bus.subscribe(subscriber)
        undo.extend([provider.shutdown, lambda: bus.unsubscribe(subscriber)])
        return provider

    yield trace_through
    for step in reversed(undo):
        step()


@pytest.fixture
def exporter_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[OtlpSink], TemplateExporter]:
    def make(sink: OtlpSink) -> TemplateExporter:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "5")
        return TemplateExporter()

    return make


FORKING = """
import os, sys, time
from opentelemetry.sdk.resources import Resource
from django_partisan.tracing.otlp_http import TemplateExporter
from django_partisan.tracing.provider import Provider

provider = Provider([TemplateExporter()], Resource.create())
tracer = provider.get_tracer("t")
tracer.start_span("of the parent").end()
[processor] = provider._active_span_processor._span_processors
while not processor.span_exporter.under_way:
    time.sleep(0.01)
if os.fork() == 0:
    tracer.start_span("of the child").end()
    os._exit(0 if provider.force_flush() else 1)
_, status = os.wait()
provider.force_flush()
os._exit(status)
"""


def span_of_somebody() -> ReadableSpan:
    span = TracerProvider(ALWAYS_ON, shutdown_on_exit=False).get_tracer("t").start_span("of somebody")
    span.end()
    assert isinstance(span, ReadableSpan)
    return span


class Held(SpanExporter):
    """An exporter that is held until it is let go."""

    takes_light_spans = True

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
    def test_a_task_is_followed_from_its_enqueueing_to_its_end(
        self, exporter_to, sink: OtlpSink, traced: Traced
    ):
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
        self, exporter_to, sink: OtlpSink, traced: Traced, monkeypatch: pytest.MonkeyPatch
    ):
        # pytest would keep the log line for its report, which pytest-xdist cannot encode.
        monkeypatch.setattr(logging.getLogger("django_partisan.app"), "disabled", True)
        provider = traced(exporter_to(sink))
        fail(error=ErrorInfo("Broken", "half \ud83d of a pair", "trace \udc80"))
        complete()

        assert flush(10, provider)
        failed, _ = sink.wait_for(2, "process")
        assert failed.status_message == "half ? of a pair"

    def test_slow_collector_does_not_hold_a_run(self, exporter_to, sink: OtlpSink, traced: Traced):
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

    def test_flush_gives_up_in_time_on_a_collector_that_never_answers(
        self, exporter_to, sink: OtlpSink, traced: Traced
    ):
        sink.mode = "hang"
        provider = traced(exporter_to(sink))
        subscriber = TracingSubscriber(tracer_provider=provider)
        complete()

        began = time.monotonic()
        subscriber.close(0.3)

        seconds = time.monotonic() - began
        sink.let_go()

        assert 0.3 <= seconds < 1.5

    def test_spans_of_a_provider_of_the_host_are_flushed_too(self, exporter_to, sink: OtlpSink):
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        host = TracerProvider(shutdown_on_exit=False)
        host.add_span_processor(BatchSpanProcessor(exporter_to(sink)))
        subscriber = TracingSubscriber(tracer_provider=host)
        with host.get_tracer("the host").start_as_current_span("of the host"):
            pass
        subscriber.close(10)
        host.shutdown()

        assert [span.name for span in sink.spans] == ["of the host"]


class TestHowItIsSent:
    """As the SDK's exporter would: only the bytes are ours."""

    @pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
    def test_compressed_as_the_environment_says(
        self, exporter_to, sink: OtlpSink, traced: Traced, monkeypatch: pytest.MonkeyPatch, compression: str
    ):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
        provider = traced(exporter_to(sink))
        for _ in range(3):
            complete()

        assert flush(10, provider)
        assert len(sink.wait_for(3, "process")) == 3
        assert sink.headers[0].get("content-encoding", "none") == compression

    def test_headers_are_the_environments(
        self, exporter_to, sink: OtlpSink, traced: Traced, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
        provider = traced(exporter_to(sink))
        complete()

        assert flush(10, provider)
        assert sink.headers[0]["authorization"] == "Bearer abc"
        assert sink.headers[0]["content-type"] == "application/x-protobuf"

    def test_batch_that_a_busy_collector_sent_back_is_sent_again(
        self, exporter_to, sink: OtlpSink, traced: Traced
    ):
        sink.busy = 1
        provider = traced(exporter_to(sink))
        complete()

        assert flush(10, provider)
        assert len(sink.wait_for(1, "process")) == 1
        assert sink.requests == 2
        assert losses.taken() == {}

    def test_spans_of_all_kinds_go_in_one_request(self, exporter_to, sink: OtlpSink, traced: Traced):
        provider = traced(exporter_to(sink))
        complete()
        with provider.get_tracer("the host").start_as_current_span("of the task's own"):
            complete()
        fail()

        assert flush(10, provider)
        assert len(sink.wait_for(4)) == 4
        assert sink.requests == 1

    @pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
    def test_request_is_the_one_that_the_sdks_exporter_sends(
        self, exporter_to, sink: OtlpSink, monkeypatch: pytest.MonkeyPatch, compression: str
    ):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=shop")
        ours, of_sdk = exporter_to(sink), OTLPSpanExporter()
        span = span_of_somebody()
        for exporter in (ours, of_sdk):
            assert exporter.export([span]) is SpanExportResult.SUCCESS
            exporter.shutdown()

        first, second = sink.headers
        assert first == second
        assert sink.spans[0] == sink.spans[1]

    def test_batch_that_found_another_way_than_ours_is_no_success(
        self, exporter_to, sink: OtlpSink, traced: Traced, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(OTLPSpanExporter, "export", lambda self, spans: SpanExportResult.SUCCESS)
        provider = traced(exporter_to(sink))
        complete()

        assert flush(10, provider)
        assert losses.taken() == {"span_export_failed": 1}

    def test_request_that_is_too_long_is_not_sent_and_counted(
        self, exporter_to, sink: OtlpSink, traced: Traced, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(otlp_http, "REQUEST_MAX_BYTES", 100)
        provider = traced(exporter_to(sink))
        complete()

        assert flush(10, provider)
        assert sink.requests == 0
        assert losses.taken() == {"span_export_failed": 1}

    def test_spans_do_not_follow_a_redirection(self, monkeypatch: pytest.MonkeyPatch):
        sent: list[object] = []
        monkeypatch.setattr(HTTPAdapter, "send", lambda self, request: sent.append(request.body))
        courier = otlp_http._Courier()
        courier.take(b"spans")
        for method in ("POST", "GET"):
            courier.send(Request(method, "http://127.0.0.1/").prepare())

        assert sent == [b"spans", None]

    def test_process_that_was_forked_while_spans_are_sent_sends_its_own(self, sink: OtlpSink):
        sink.delay_seconds = 30.0
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url, "OTEL_BSP_SCHEDULE_DELAY": "1"}
        program = subprocess.Popen([sys.executable, "-W", "ignore", "-c", FORKING], env=environment)
        try:
            deadline = time.monotonic() + 20
            while sink.requests < 2 and time.monotonic() < deadline:
                assert program.poll() is None
                time.sleep(0.02)
            assert sink.requests == 2  # the child's too, while the parent's is not answered
            sink.let_go()

            assert program.wait(20) == 0
            assert sorted(span.name for span in sink.spans) == ["of the child", "of the parent"]
        finally:
            program.kill()
            program.wait()

    def test_nothing_is_sent_after_the_end(self, exporter_to, sink: OtlpSink):
        exporter = exporter_to(sink)
        exporter.shutdown()

        assert exporter.export([]) is SpanExportResult.FAILURE
        assert exporter.force_flush()
        assert sink.requests == 0


class TestLosses:
    def test_refused_spans_are_counted(self, exporter_to, sink: OtlpSink, traced: Traced):
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
        traced(Held(), "always_off")
        for _ in range(5):
            complete()

        assert losses.taken() == {}

    def test_exporter_that_raises_loses_its_spans_and_no_run(self):
        class Raising(Held):
            def export(self, spans) -> SpanExportResult:
                raise OSError("disk full")

        exporter = CountingExporter(Raising())

        with pytest.raises(OSError, match="disk full"):
            exporter.export([span_of_somebody(), span_of_somebody()])
        assert losses.taken() == {"span_export_failed": 2}

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

        before = bus.swallowed["traces"]

        assert flush(10, Raising(shutdown_on_exit=False))
        assert bus.swallowed["traces"] == before + 1
