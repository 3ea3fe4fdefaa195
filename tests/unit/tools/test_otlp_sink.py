"""Our collector accepts what the real exporter sends, and can be slow or down."""

import gzip
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanContext, SpanKind, StatusCode

from tools.otlp_sink import OtlpSink


def send_one(url: str, compression: Compression = Compression.NoCompression) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{url}/v1/traces", timeout=2, compression=compression)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    link = Link(SpanContext(1, 2, is_remote=True), {"why": "test"})
    given: dict[str, Any] = {"text": "a", "number": 1, "fraction": 0.5, "truth": True, "list": ["a", "b"]}
    span = provider.get_tracer("t").start_span(
        "process images", kind=SpanKind.CONSUMER, attributes=given, links=[link]
    )
    span.add_event("task.completed", {"event.duration": 5})
    span.set_status(StatusCode.ERROR, "broken")
    span.end()
    provider.shutdown()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_span_comes_with_all_it_has(sink: OtlpSink, compression: Compression):
    send_one(sink.url, compression)

    [span] = sink.wait_for(1)
    [link], [event] = span.links, span.events
    assert (span.name, span.kind, span.parent_id) == ("process images", "consumer", "")
    assert (len(span.trace_id), len(span.span_id)) == (32, 16)
    assert span.attributes == {"text": "a", "number": 1, "fraction": 0.5, "truth": True, "list": ["a", "b"]}
    assert (link.trace_id, link.span_id, link.attributes) == (f"{1:032x}", f"{2:016x}", {"why": "test"})
    assert (event.name, event.attributes) == ("task.completed", {"event.duration": 5})
    assert (span.status, span.status_message) == ("error", "broken")
    assert span.resource == {"service.name": "shop"}
    assert 0 < span.started <= span.ended


def test_refusing_sink_keeps_nothing(sink: OtlpSink):
    sink.mode = "refuse"
    send_one(sink.url)

    assert sink.requests == 1
    assert sink.spans == []


def test_other_paths_are_not_found(sink: OtlpSink):
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"{sink.url}/v1/metrics", gzip.compress(b""), timeout=5)


@pytest.mark.slow
def test_program_writes_a_line_of_json_per_span(tmp_path: Path):
    file = tmp_path / "spans.jsonl"
    command = [sys.executable, "-m", "tools.otlp_sink", "--port", "0", "--file", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            url = program.stdout.readline().strip().removeprefix("OTEL_EXPORTER_OTLP_ENDPOINT=")
            send_one(url)
        finally:
            program.send_signal(signal.SIGINT)

    [line] = file.read_text().splitlines()
    assert json.loads(line)["name"] == "process images"
    assert program.returncode == 0
