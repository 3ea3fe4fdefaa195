"""The bytes of a request are, once parsed, what the library's own encoder makes of the same spans."""

import random
from collections.abc import Sequence
from enum import Enum, IntEnum, IntFlag
from typing import Any

import pytest
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from django_partisan.tracing.otlp_encoding import encode
from django_partisan.tracing.provider import Provider
from django_partisan.tracing.sdk import flush

from .driving import claimed, complete, enqueue, fail, postpone, retry

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


class Debt(IntEnum):
    LARGE = -7


class Access(IntFlag):
    READ = 1
    WRITE = 2


class Size(str, Enum):
    SMALL = "small"


class Ratio(float):
    pass


SUBCLASSES: list[Any] = [Debt.LARGE, Access.READ | Access.WRITE, Size.SMALL, Ratio(0.5)]
VALUES: list[Any] = [
    *SUBCLASSES,
    *([value] for value in SUBCLASSES),
    *("", "short", "ä" * 63, "€" * 64, "x" * 65, "y" * 1023, "z" * 20_000, "\x00", "🙂"),
    *(0, 1, -1, 127, 128, 16_383, 16_384, 2**31, 2**63 - 1, -(2**63)),
    *(True, False, 0.0, -0.0, 1.0, -1.5, 1e308, float("inf")),
    *(b"", b"bytes", b"\xff" * 200),
    *((), ("a", "b"), (1, 2), (True, False), (0.5, 1.0), ("x" * 200,)),
]


def span_of(random: random.Random) -> ReadableSpan:
    """Return a span of everything that spans may have, chosen at random."""

    def context(is_remote: bool = False) -> SpanContext:
        state = TraceState([("a", "1"), ("b", "2")] if random.random() < 0.3 else [])
        ids = (
            random.randrange(1, 2 ** random.choice((8, 128))),
            random.randrange(1, 2 ** random.choice((8, 64))),
        )
        return SpanContext(*ids, is_remote, TraceFlags(random.randrange(4)), state)

    def attributes() -> Any:
        some = {f"key {n}" * n: random.choice(VALUES) for n in range(1, random.randrange(1, 20))}
        return random.choice((some, BoundedAttributes(5, some), None))

    def moment() -> int:
        return random.choice((1, 2**63, random.randrange(2**64)))

    events = [
        Event(random.choice(("", "x", "ä" * 99)), attributes(), moment()) for _ in range(random.randrange(4))
    ]
    links = [Link(context(random.random() < 0.5), attributes()) for _ in range(random.randrange(4))]
    return ReadableSpan(
        name=random.choice(("", "process default", "ß" * 200)),
        context=context(),
        parent=random.choice((None, context(True), context(False))),
        resource=random.choice(RESOURCES),
        attributes=attributes(),
        events=random.choice((events, BoundedList.from_seq(2, events))),
        links=random.choice((links, BoundedList.from_seq(2, links))),
        kind=random.choice(list(SpanKind)),
        status=random.choice((Status(), Status(StatusCode.OK), Status(StatusCode.ERROR, "Fehler: ä"))),
        start_time=moment(),
        end_time=moment(),
        instrumentation_scope=random.choice(SCOPES),
    )


RESOURCES = [
    Resource({"service.name": "shop", "process.pid": 12}),
    Resource({"x": ("a", "b")}, "https://example.test/schema"),
]
SCOPES = [
    None,
    InstrumentationScope("django_partisan", "2.0"),
    InstrumentationScope("host"),
    InstrumentationScope("of somebody", "1"),
]


@pytest.fixture
def gathered(monkeypatch: pytest.MonkeyPatch, traced, request: pytest.FixtureRequest):
    """Trace as in a worker; return exporter and provider."""
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    exporter = InMemorySpanExporter()
    provider = Provider([exporter], Resource.create({"service.name": "shop", "process.pid": 12}))
    provider.makes_plain_spans = getattr(request, "param", True)
    traced(provider)
    return exporter, provider


def decoded(encoded: bytes) -> Any:
    return ExportTraceServiceRequest.FromString(encoded)


def assert_as_the_library_encodes(spans: Sequence[ReadableSpan]) -> None:
    """Compare with the library's encoder, which also groups spans by resource and scope."""
    assert decoded(encode(spans)) == encode_spans(spans)


@pytest.mark.parametrize("seed", range(40))
def test_spans_of_every_content_are_encoded_as_by_the_library(seed: int):
    chosen = random.Random(seed)
    spans = [span_of(chosen) for _ in range(25)]

    assert_as_the_library_encodes(spans)
    assert_as_the_library_encodes(spans)  # now with remembered attributes


@pytest.mark.parametrize("gathered", [True, False], indirect=True, ids=["plain", "of the SDK"])
def test_our_spans_are_encoded_as_by_the_library(gathered):
    exporter, provider = gathered
    for run in RUNS:
        complete(**run)
    for step in (postpone, retry, fail, enqueue):
        step()
    claimed({"traceparent": FROM}, {"traceparent": UNSAMPLED})
    with provider.get_tracer("the host").start_as_current_span("of the task's own"):
        complete()
    assert flush(10, provider)

    spans = exporter.get_finished_spans()
    assert len(spans) == len(RUNS) + 7
    assert_as_the_library_encodes(spans)


def test_values_that_only_look_the_same_stay_different():
    given = {
        "a": 1,
        "b": True,
        "c": 1.0,
        "d": "1",
        "e": False,
        "f": 0,
        "g": -0.0,
        "h": 0.0,
        "i": (1,),
        "j": (True,),
    }
    for key in given:  # all values under one key, one after the other
        value: Any = given[key]
        span = ReadableSpan("x", SpanContext(1, 2, False), attributes={"key": value}, resource=RESOURCES[0])

        assert_as_the_library_encodes([span])


def test_what_otlp_has_no_type_for_is_text():
    given: Any = {
        "large": 2**63,
        "huge": -(10**5000),
        "half": "half \ud83d of a pair",
        "object": Status,
        "map": {"a": (None, 1)},
    }
    span = ReadableSpan("half \ud83d", SpanContext(1, 2, False), attributes=given, resource=RESOURCES[0])

    [found] = decoded(encode([span])).resource_spans[0].scope_spans[0].spans
    values = {attribute.key: attribute.value for attribute in found.attributes}
    assert found.name == "half ?"
    assert values["large"].string_value == hex(2**63)
    assert values["huge"].string_value == hex(-(10**5000))
    assert values["half"].string_value == "half ? of a pair"
    assert values["object"].string_value == str(Status)
    [entry] = values["map"].kvlist_value.values
    nothing, one = entry.value.array_value.values
    assert (entry.key, nothing.WhichOneof("value"), one.int_value) == ("a", None, 1)


def test_scope_is_encoded_completely():
    """The oldest supported version of the library leaves out its attributes and its schema."""
    scope = InstrumentationScope("of somebody", "1", "https://example.test/scope", {"a": 1})
    span = ReadableSpan("x", SpanContext(1, 2, False), resource=RESOURCES[0], instrumentation_scope=scope)

    [found] = decoded(encode([span])).resource_spans[0].scope_spans
    [attribute] = found.scope.attributes
    assert (found.scope.name, found.scope.version, found.schema_url) == (scope.name, "1", scope.schema_url)
    assert (attribute.key, attribute.value.int_value) == ("a", 1)


def test_nothing_makes_an_empty_request():
    assert encode([]) == b""
