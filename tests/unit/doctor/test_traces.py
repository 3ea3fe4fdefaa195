"""Whether spans are exported, and anybody takes them."""

import socket
from collections.abc import Iterator

import pytest

from django_partisan.doctor import traces
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING
from tools.otlp_sink import OtlpSink


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Return a port that is taken, and where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.fixture(autouse=True)
def no_host_sdk(monkeypatch):
    monkeypatch.setattr(traces, "is_set_up", lambda: False)


def test_nothing_is_exported_unless_asked_for(subject):
    [finding] = traces.look(subject)

    assert finding.status == SKIPPED


def test_the_projects_own_sdk_is_left_to_it(subject, monkeypatch):
    monkeypatch.setattr(traces, "is_set_up", lambda: True)

    [finding] = traces.look(subject)

    assert finding.status == FINE
    assert "itself" in finding.message


def test_a_collector_that_takes_connections_is_fine(subject, monkeypatch):
    with OtlpSink() as sink:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)

        [finding] = traces.look(subject)

    assert finding.status == FINE
    assert sink.url.removeprefix("http://") in finding.message


def test_a_collector_that_is_away_is_a_warning(subject, monkeypatch, closed_port):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{closed_port}")

    [finding] = traces.look(subject)

    assert finding.status == WARNING
    assert "tasks do not suffer" in finding.message


def test_an_exporter_that_is_not_installed_is_an_error(subject, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin_of_old")

    [finding] = traces.look(subject)

    assert finding.status == ERROR
    assert "django-partisan[otlp]" in finding.cure


def test_another_exporter_is_only_named(subject, monkeypatch):
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console")

    [finding] = traces.look(subject)

    assert finding.status == FINE
    assert "'console'" in finding.message


@pytest.mark.parametrize(
    ("name", "environ", "expected"),
    [
        ("otlp_proto_http", {}, ("localhost", 4318)),
        ("otlp_proto_grpc", {}, ("localhost", 4317)),
        ("otlp_proto_http", {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://a.example"}, ("a.example", 443)),
        ("otlp_proto_http", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a.example"}, ("a.example", 80)),
        ("otlp_proto_grpc", {"OTEL_EXPORTER_OTLP_ENDPOINT": "a.example:4317"}, ("a.example", 4317)),
        ("otlp_proto_grpc", {"OTEL_EXPORTER_OTLP_ENDPOINT": "//:4317"}, ("localhost", 4317)),
        (
            "otlp_proto_http",
            {
                "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a.example",
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://b.example:1/v1/traces",
            },
            ("b.example", 1),
        ),
    ],
)
def test_the_endpoint_is_read_as_the_exporter_reads_it(name, environ, expected):
    assert traces.endpoint_of(name, environ) == expected
