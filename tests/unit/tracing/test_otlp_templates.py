"""A message made from a template equals what the library encodes, in every field."""

from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from django_partisan.tracing.light_spans import LightSpan
from django_partisan.tracing.otlp_templates import Templates
from django_partisan.tracing.provider import Provider
from django_partisan.tracing.sdk import flush

from .driving import complete

FROM = f"00-{5:032x}-{6:016x}-01"
UNSAMPLED = f"00-{7:032x}-{8:016x}-00"
PREVIOUS = f"00-{9:032x}-{10:016x}-01"

RUNS: list[dict[str, Any]] = [
    {},
    {"id": 2**63 - 1, "wait_seconds": 0.0},
    {"id": 8, "wait_seconds": 1e6, "priority": -5},
    {"priority": 2**31 - 1},
    {"generation": 300},
    {"headers": {"traceparent": FROM}},
    {"headers": {"traceparent": UNSAMPLED}},
    {"headers": {"traceparent": FROM, "tracestate": "a=1,b=2"}},
    {"headers": {"traceparent": FROM}, "propagation": "child"},
    {"headers": {"traceparent": FROM, "tracestate": "a=1"}, "propagation": "child"},
    {"headers": {"traceparent": FROM}, "propagation": "none"},
    {"headers": {"partisan.previous_span": PREVIOUS}, "attempt": 2, "retries": 1},
    {"headers": {"traceparent": FROM, "partisan.previous_span": PREVIOUS}, "attempt": 2, "postpones": 1},
    {"headers": {"traceparent": FROM}, "attempt": 2, "postpones": 1},
    {"queue": "mail", "processor": "Übersetzung"},
]


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch, traced) -> tuple[InMemorySpanExporter, Provider]:
    """Trace runs as in a worker; return exporter and provider."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    exporter = InMemorySpanExporter()
    provider = Provider([exporter], Resource.create({"service.name": "shop", "process.pid": 12}))
    traced(provider)
    return exporter, provider


def decoded(encoded: bytes) -> list[Any]:
    """Return resource, scope and span for every span in a request."""
    request = ExportTraceServiceRequest.FromString(encoded)
    return [
        (of_resource.resource, of_resource.schema_url, of_scope.scope, of_scope.schema_url, span)
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def without_what_is_new(messages: list[Any]) -> list[Any]:
    """Blank the ids and times of spans, which differ between runs."""
    for *_, span in messages:
        span.trace_id = span.span_id = b""
        span.start_time_unix_nano = span.end_time_unix_nano = 0
        span.attributes.sort(key=lambda attribute: attribute.key)
        for event in span.events:
            event.time_unix_nano = 0
            event.attributes.sort(key=lambda attribute: attribute.key)
    return messages


def by_id(messages: list[Any]) -> list[Any]:
    return sorted(messages, key=lambda message: message[-1].span_id)


def encoded_by_the_library(spans: Any) -> list[Any]:
    return by_id(decoded(encode_spans(spans).SerializeToString()))


@pytest.mark.parametrize("most", [250, 2])
def test_same_as_the_library_makes_of_the_same_spans(gathered, most: int):
    exporter, provider = gathered
    for run in RUNS * 2:
        complete(**run)
    assert flush(10, provider)

    light = exporter.get_finished_spans()
    assert len(light) == 2 * len(RUNS)
    assert all(isinstance(span, LightSpan) for span in light)
    templates = Templates(most)
    assert by_id(decoded(templates.encode(light))) == encoded_by_the_library(light)
    assert len(templates._known) == min(most, 11)


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_same_as_the_sdk_makes_of_the_same_run(gathered, run: dict[str, Any]):
    exporter, provider = gathered
    light_spans = provider.light_spans
    for provider.light_spans in (light_spans, None, light_spans):
        complete(**run)
    assert flush(10, provider)

    first, of_sdk, second = exporter.get_finished_spans()
    known = Templates()
    made, filled = decoded(known.encode([first])), decoded(known.encode([second]))
    expected = without_what_is_new(encoded_by_the_library([of_sdk]))
    assert without_what_is_new(made) == expected
    assert without_what_is_new(filled) == expected


def test_nothing_makes_an_empty_request():
    assert decoded(Templates().encode([])) == []
