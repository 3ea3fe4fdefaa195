"""Spans pass through the Collector's recipe; a second Collector stands in for Tempo and shows them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from tests.real_parts.elastic_shippers import OTELCOL_IS_THERE, QUIET, Collector
from tests.real_parts.log_path import STREAM
from tests.real_parts.servers import HOST, free_port, listens
from tests.support.child import Child
from tests.support.waiting import wait_until
from tools import parts
from tools.otlp_sink import OtlpSink
from tools.parts.go_programs import OTELCOL

pytestmark = OTELCOL_IS_THERE


class StandInForTempo(Child):
    """A Collector that accepts spans by gRPC, as Tempo does, and forwards them to a sink."""

    def __init__(self, folder: Path, sink: OtlpSink) -> None:
        port = free_port()
        self.address = f"{HOST}:{port}"
        config = {
            "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": self.address}}}},
            "exporters": {"otlp_http": {"endpoint": sink.url}},
            "service": {"pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["otlp_http"]}}},
        }
        file = folder / "tempo.json"
        file.write_text(json.dumps(config))
        super().__init__("tempo", [str(parts.find(OTELCOL)), "--config", str(file), QUIET], folder)
        wait_until(lambda: listens(port), 30, self.log_end, every=0.1)


@pytest.fixture
def collector(tmp_path: Path, sink: OtlpSink) -> Iterator[Collector]:
    """The recipe, with an Elasticsearch server that is down."""
    tempo = StandInForTempo(tmp_path, sink)
    made = Collector(tmp_path, f"http://{HOST}:1", STREAM, tempo.address)
    yield made
    made.stop()
    tempo.stop()


def test_spans_pass_through_the_collectors_recipe(collector: Collector, sink: OtlpSink) -> None:
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{collector.otlp_url}/v1/traces")))

    for number in range(100):
        provider.get_tracer("tests").start_span(f"process {number}", attributes={"number": number}).end()
    provider.shutdown()

    spans = sink.wait_for(100)
    assert {span.name: span.attributes["number"] for span in spans} == {
        f"process {number}": number for number in range(100)
    }
    assert {span.resource["service.name"] for span in spans} == {"shop"}
