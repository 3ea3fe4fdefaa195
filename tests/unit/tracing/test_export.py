"""Spans that leave the process: through the SDK's batch processor and a real exporter to a real collector."""

import io
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import NoOpTracerProvider
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from django_partisan.telemetry import reporting, swallowed
from django_partisan.telemetry.events.values import ErrorInfo
from django_partisan.tracing import TracingSubscriber, dropped_spans
from django_partisan.tracing.otlp_http import BodySession, OtlpHttpExporter
from django_partisan.tracing.provider import CountingExporter, Provider
from django_partisan.tracing.sdk import flush
from tests.support.progress import descendants, progress_of
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from tools.otlp_sink import OtlpSink

from .driving import complete, fail

Export = Callable[..., TracerProvider]


@pytest.fixture(autouse=True)
def _nothing_dropped_yet() -> Iterator[None]:
    others = dropped_spans.unexported[:]
    dropped_spans.unexported.clear()
    dropped_spans.taken()
    yield
    dropped_spans.taken()
    dropped_spans.unexported[:] = others


@pytest.fixture(params=["of the SDK", "plain"])
def export(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, sink: OtlpSink, traced
) -> Iterator[Export]:
    """Return a function that traces as our own set-up does, by default to the sink.

    Each test runs once with only the SDK's spans, and once with plain ones.
    """
    providers: list[Provider] = []
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "5")

    def export(exporter: SpanExporter | None = None, sampler: str = "always_on") -> Provider:
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        provider = Provider([exporter or OtlpHttpExporter()], Resource.create())
        assert provider.makes_plain_spans
        provider.makes_plain_spans = request.param == "plain"
        traced(provider)
        providers.append(provider)
        return provider

    yield export
    for provider in providers:
        provider.shutdown()


FORKING = """
import os, time
from opentelemetry.sdk.resources import Resource
from django_partisan.tracing.otlp_http import OtlpHttpExporter
from django_partisan.tracing.provider import CountingExporter, Provider

exporter = CountingExporter(OtlpHttpExporter())
provider = Provider([exporter], Resource.create())
tracer = provider.get_tracer("t")
tracer.start_span("of the parent").end()
while not exporter.under_way:
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
    """An exporter that waits until it is released."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.released = threading.Event()
        self.exported = 0

    def export(self, spans) -> SpanExportResult:
        self.entered.set()
        assert self.released.wait(30)
        self.exported += len(spans)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.released.set()


class TestRequest:
    """Requests are as the SDK's exporter would send them; only the bytes are ours."""

    def test_text_that_cannot_be_encoded_does_not_cost_the_batch(
        self, export: Export, sink: OtlpSink, monkeypatch: pytest.MonkeyPatch
    ):
        # pytest would store the log line for its report, which pytest-xdist cannot encode.
        monkeypatch.setattr(logging.getLogger("django_partisan.app"), "disabled", True)
        provider = export()
        fail(error=ErrorInfo("Broken", "half \ud83d of a pair", "trace \udc80"))
        complete()

        assert flush(10, provider)
        failed, _ = sink.wait_for(2, "process")
        assert failed.status_message == "half ? of a pair"

    def test_batch_that_a_busy_collector_refused_is_sent_again(self, export: Export, sink: OtlpSink):
        sink.busy = 1
        provider = export()
        complete()

        assert flush(10, provider)
        assert len(sink.wait_for(1, "process")) == 1
        assert sink.requests == 2
        assert dropped_spans.taken() == {}

    def test_spans_of_all_kinds_go_in_one_request(self, export: Export, sink: OtlpSink):
        provider = export()
        complete()
        with provider.get_tracer("the host").start_as_current_span("of the task's own"):
            complete()
        fail()

        assert flush(10, provider)
        assert len(sink.wait_for(4)) == 4
        assert sink.requests == 1

    @pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
    def test_request_is_the_one_that_the_sdks_exporter_sends(
        self, sink: OtlpSink, monkeypatch: pytest.MonkeyPatch, compression: str
    ):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
        span = span_of_somebody()
        for exporter in (OtlpHttpExporter(), OTLPSpanExporter()):
            assert exporter.export([span]) is SpanExportResult.SUCCESS
            exporter.shutdown()
        assert exporter.export([span]) is SpanExportResult.FAILURE

        first, second = sink.headers
        assert first == second
        assert first["authorization"] == "Bearer abc"
        assert first.get("content-encoding", "none") == compression
        assert sink.spans[0] == sink.spans[1]

    def test_batch_that_was_sent_another_way_than_ours_is_no_success(
        self, export: Export, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(OTLPSpanExporter, "export", lambda self, spans: SpanExportResult.SUCCESS)
        provider = export()
        complete()

        assert flush(10, provider)
        assert dropped_spans.taken() == {"span_export_failed": 1}

    def test_request_that_is_too_long_is_not_sent_and_counted(self, export: Export, sink: OtlpSink):
        provider = export(OtlpHttpExporter(request_max_bytes=100))
        complete()

        assert flush(10, provider)
        assert sink.requests == 0
        assert dropped_spans.taken() == {"span_export_failed": 1}

    def test_spans_do_not_follow_a_redirect(self):
        sent: list[tuple[str | None, object]] = []

        class Redirecting(HTTPAdapter):
            def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
                sent.append((request.method, request.body))
                response = Response()
                response.request, response.url, response.raw = request, str(request.url), io.BytesIO()
                response.status_code = 302 if len(sent) == 1 else 200
                response.headers["Location"] = "http://elsewhere.test/"
                return response

        session = BodySession()
        session.mount("http://", Redirecting())
        session.body = b"spans"

        session.request("POST", "http://collector.test/", data=b"")

        assert sent == [("POST", b"spans"), ("GET", None)]

    def test_process_that_was_forked_while_spans_are_sent_sends_its_own(self, sink: OtlpSink):
        sink.delay_seconds = 600.0  # until it is released
        environment = {
            **os.environ,
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "600",  # so that nothing is sent again, however slow the machine is
            "OTEL_BSP_EXPORT_TIMEOUT": "600000",
            "OTEL_BSP_SCHEDULE_DELAY": "1",
        }
        program = subprocess.Popen([sys.executable, "-W", "ignore", "-c", FORKING], env=environment)
        try:
            # The child's request arrives although the parent's is unanswered.
            wait_until(
                lambda: sink.requests == 2,
                what=lambda: f"2 requests, not {sink.requests}; exit code {program.poll()}",
                progress=progress_of(partial(descendants, program.pid), PATIENCE_SECONDS),
            )
            sink.let_go()

            assert program.wait(PATIENCE_SECONDS) == 0
            assert sorted(span.name for span in sink.spans) == ["of the child", "of the parent"]
        finally:
            program.kill()
            program.wait()


def test_each_export_is_reported_at_once(export: Export):
    held, reported = Held(), threading.Event()
    provider = export(held)
    waiting: list[int] = []

    def report() -> None:
        waiting.append(dropped_spans.waiting())
        reported.set()

    with reporting.reporting(report):
        complete()
        before = dropped_spans.waiting()
        flushing = threading.Thread(target=provider.force_flush)
        flushing.start()
        assert held.entered.wait(30)
        meanwhile = dropped_spans.waiting()
        held.released.set()
        assert reported.wait(30)
        flushing.join()

    assert (before, meanwhile, waiting) == (1, 1, [0])


class TestDropped:
    def test_refused_spans_are_counted(self, export: Export, sink: OtlpSink):
        sink.mode = "refuse"
        provider = export()
        complete()
        complete()
        flush(10, provider)

        assert dropped_spans.taken() == {"span_export_failed": 2}

    def test_a_held_exporter_holds_no_run_and_what_the_queue_drops_is_counted(
        self, export: Export, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
        exporter = Held()
        provider = export(exporter)
        complete()
        assert not flush(0.2, provider)
        assert exporter.entered.wait(10)
        for _ in range(14):
            complete()

        assert dropped_spans.taken() == {"span_queue_full": 4}
        exporter.released.set()
        assert flush(10, provider)
        assert exporter.exported == 11

    def test_close_waits_no_longer_than_asked_and_counts_what_is_left(self, export: Export):
        exporter = Held()
        provider = export(exporter)
        subscriber = TracingSubscriber(slot=3, tracer_provider=provider)
        for _ in range(3):
            complete()
        began = time.monotonic()

        subscriber.close(0.2)

        assert subscriber.is_stuck
        assert 0.2 <= time.monotonic() - began < 5
        assert dropped_spans.taken() == {"span_not_flushed": 3}
        exporter.released.set()
        subscriber.close(10)
        assert not subscriber.is_stuck
        assert dropped_spans.taken() == {}

    def test_spans_that_are_not_sampled_are_not_counted(
        self, export: Export, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
        monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
        export(Held(), "always_off")
        for _ in range(5):
            complete()

        assert dropped_spans.taken() == {}

    def test_exporter_that_raises_drops_its_spans_and_passes_the_flush_on(self):
        class Raising(Held):
            def export(self, spans) -> SpanExportResult:
                raise OSError("disk full")

            def force_flush(self, timeout_millis: int = 30000) -> bool:
                return timeout_millis == 7

        exporter = CountingExporter(Raising())

        with pytest.raises(OSError, match="disk full"):
            exporter.export([span_of_somebody(), span_of_somebody()])
        assert dropped_spans.taken() == {"span_export_failed": 2}
        assert exporter.force_flush(7)


class TestFlush:
    def test_provider_that_cannot_flush_is_flushed(self):
        assert flush(0.1, NoOpTracerProvider())

    def test_provider_that_raises_is_no_timeout(self):
        class Raising(TracerProvider):
            def force_flush(self, timeout_millis: int = 30000) -> bool:
                raise RuntimeError

        before = swallowed.counts["traces"]

        assert flush(10, Raising(shutdown_on_exit=False))
        assert swallowed.counts["traces"] == before + 1
