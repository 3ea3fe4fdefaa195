"""What is filled into a template is what the library encodes, to the last field."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExportResult

from django_partisan.telemetry import bus
from django_partisan.tracing import TracingSubscriber, flush, templates
from django_partisan.tracing.light_span import LightSpan
from django_partisan.tracing.provider import Provider
from django_partisan.tracing.templates import Templates

from .driving import SLOT, complete

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


class Gathering:
    """An exporter that keeps what it is given."""

    takes_light_spans = True

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Keep all."""


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Gathering, TracerProvider]]:
    """Trace runs as in a worker."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    exporter = Gathering()
    provider = Provider([exporter], Resource.create({"service.name": "shop", "process.pid": 12}))  # type: ignore[list-item]
    subscriber = TracingSubscriber(4711, SLOT, tracer_provider=provider)
    bus.subscribe(subscriber)
    yield exporter, provider
    bus.unsubscribe(subscriber)
    provider.shutdown()


def decoded(encoded: bytes) -> list[Any]:
    """Return resource, scope and span, for every span in a request."""
    request = ExportTraceServiceRequest.FromString(encoded)
    return [
        (of_resource.resource, of_resource.schema_url, of_scope.scope, of_scope.schema_url, span)
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]


def without_what_is_new(messages: list[Any]) -> list[Any]:
    """Blank ids and times of spans, which no two runs share."""
    for *_, span in messages:
        span.trace_id = span.span_id = b""
        span.start_time_unix_nano = span.end_time_unix_nano = 0
        for event in span.events:
            event.time_unix_nano = 0
        span.attributes.sort(key=lambda attribute: attribute.key)
        for event in span.events:
            event.attributes.sort(key=lambda attribute: attribute.key)
    return messages


def by_id(messages: list[Any]) -> list[Any]:
    return sorted(messages, key=lambda message: message[-1].span_id)


def test_same_as_the_library_makes_of_the_same_spans(gathered: tuple[Gathering, TracerProvider]):
    exporter, provider = gathered
    for run in RUNS * 2:
        complete(**run)
    assert flush(10, provider)

    light = exporter.spans
    assert len(light) == 2 * len(RUNS)
    assert all(isinstance(span, LightSpan) for span in light)
    expected = encode_spans([span.origin.readable(span) for span in light]).SerializeToString()
    assert by_id(decoded(Templates().encode(light))) == by_id(decoded(expected))


@pytest.mark.parametrize("run", RUNS, ids=str)
def test_same_as_the_sdk_makes_of_the_same_run(gathered: tuple[Gathering, Any], run: dict[str, Any]):
    exporter, provider = gathered
    light_spans = provider.light_spans
    for provider.light_spans in (light_spans, None, light_spans):
        complete(**run)
    assert flush(10, provider)

    first, of_sdk, second = exporter.spans
    known = Templates()
    made, filled = decoded(known.encode([first])), decoded(known.encode([second]))
    expected = without_what_is_new(decoded(encode_spans([of_sdk]).SerializeToString()))
    assert without_what_is_new(made) == expected
    assert without_what_is_new(filled) == expected


def test_ids_and_times_are_those_of_each_span(gathered: tuple[Gathering, TracerProvider]):
    exporter, provider = gathered
    for number in range(3):
        complete({"traceparent": f"00-{number + 1:032x}-{number + 1:016x}-01"}, id=number)
    assert flush(10, provider)

    found = [message[-1] for message in decoded(Templates().encode(exporter.spans))]
    assert len({span.span_id for span in found}) == len({span.trace_id for span in found}) == 3
    for number, (span, message) in enumerate(zip(exporter.spans, found, strict=True)):
        ids = {attribute.key: attribute.value.string_value for attribute in message.attributes}
        assert ids["messaging.message.id"] == str(number)
        assert message.links[0].span_id == (number + 1).to_bytes(8, "big")
        assert message.start_time_unix_nano <= message.events[0].time_unix_nano <= message.end_time_unix_nano
        assert message.span_id == span.context.span_id.to_bytes(8, "big")


def test_no_more_templates_than_there_is_room_for(
    gathered: tuple[Gathering, TracerProvider], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(templates, "TEMPLATES_MAX", 2)
    exporter, provider = gathered
    for priority in itertools.chain(range(5), range(5)):
        complete(priority=priority)
    assert flush(10, provider)

    known = Templates()
    found = decoded(known.encode(exporter.spans))
    expected = encode_spans([span.origin.readable(span) for span in exporter.spans]).SerializeToString()
    assert by_id(found) == by_id(decoded(expected))
    assert len(known._known) == 2


def test_nothing_makes_an_empty_request():
    assert decoded(Templates().encode([])) == []
