"""Whether spans are exported, and whether a collector accepts them."""

import socket
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from django_partisan.doctor import traces
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING
from tools.otlp_sink import OtlpSink

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Yield a port that is bound, but on which nothing listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("environ", "status", "said"),
    [
        ({}, SKIPPED, "No spans are exported"),
        ({"OTEL_TRACES_EXPORTER": "zipkin_of_old"}, ERROR, "'zipkin_of_old', which is not installed"),
        ({"OTEL_TRACES_EXPORTER": "console"}, FINE, "Spans are sent to the exporter 'console'."),
    ],
)
def test_an_exporter_is_looked_up_by_its_name(environ, status, said):
    [finding] = traces.judge(environ)

    assert finding.status == status
    assert said in finding.message


def test_the_projects_own_sdk_is_left_to_it(subject, monkeypatch):
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: TracerProvider(shutdown_on_exit=False))

    [finding] = traces.check(subject)

    assert finding.status == FINE
    assert "itself" in finding.message


def test_a_collector_that_accepts_connections_is_fine(subject, monkeypatch):
    with OtlpSink() as sink:
        monkeypatch.setenv(ENDPOINT, sink.url)

        [finding] = traces.check(subject)

    assert finding.status == FINE
    assert sink.url.removeprefix("http://") in finding.message


def test_a_collector_that_is_away_is_a_warning(closed_port):
    [finding] = traces.judge({ENDPOINT: f"http://127.0.0.1:{closed_port}"})

    assert finding.status == WARNING
    assert "tasks still run" in finding.message


@pytest.mark.parametrize(
    ("name", "environ", "expected"),
    [
        ("otlp_proto_http", {}, ("localhost", 4318)),
        ("otlp_proto_grpc", {}, ("localhost", 4317)),
        ("otlp_proto_http", {ENDPOINT: "https://a.example"}, ("a.example", 443)),
        ("otlp_proto_http", {ENDPOINT: "http://a.example"}, ("a.example", 80)),
        ("otlp_proto_grpc", {ENDPOINT: "a.example:4317"}, ("a.example", 4317)),
        ("otlp_proto_grpc", {ENDPOINT: "//:4317"}, ("localhost", 4317)),
        (
            "otlp_proto_http",
            {
                ENDPOINT: "http://a.example",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b.example:1/v1/traces",
            },
            ("b.example", 1),
        ),
    ],
)
def test_the_endpoint_is_read_as_the_exporter_reads_it(name, environ, expected):
    assert traces.endpoint_of(name, environ) == expected
