"""What is read without the propagators equals what they return; other configured propagators are called."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from django_partisan.tracing.context import ROOT, extracted, span_context_of, with_remote_parent
from django_partisan.tracing.traceparents import remote_span

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"

HEADERS: list[dict[str, Any]] = [
    *({"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-{flags}"} for flags in ("00", "01", "02", "03", "ff")),
    {"traceparent": TRACEPARENT, "ctx.request_id": "7", "partisan.previous_span": TRACEPARENT},
    {"traceparent": TRACEPARENT.upper()},
    {"traceparent": f" {TRACEPARENT} "},
    {"traceparent": f"{TRACEPARENT}\n"},
    {"traceparent": f"{TRACEPARENT}-more"},
    {"traceparent": f"01-{TRACE_ID}-{SPAN_ID}-01-more"},
    {"traceparent": f"ff-{TRACE_ID}-{SPAN_ID}-01"},
    {"traceparent": f"00-{'0' * 32}-{SPAN_ID}-01"},
    {"traceparent": f"00-{TRACE_ID}-{'0' * 16}-01"},
    {"traceparent": ""},
    {"traceparent": TRACEPARENT, "tracestate": "vendor=value"},
    {"traceparent": TRACEPARENT, "baggage": "shop=berlin"},
    {"baggage": "shop=berlin"},
    {"Traceparent": TRACEPARENT},
    {},
]


@pytest.fixture
def restore_propagator() -> Iterator[None]:
    before = propagate.get_global_textmap()
    yield
    propagate.set_global_textmap(before)


@pytest.mark.parametrize("headers", HEADERS, ids=str)
def test_result_is_that_of_the_propagators(headers: dict[str, Any]):
    expected = propagate.extract(headers, ROOT)

    context, enqueuer = extracted(headers)

    assert enqueuer == span_context_of(expected)
    parent = with_remote_parent(enqueuer, context)
    assert span_context_of(parent) == span_context_of(expected)
    assert baggage.get_all(parent) == baggage.get_all(expected)


def test_trace_context_alone_is_read_without_the_propagators():
    assert remote_span({"traceparent": TRACEPARENT}) == trace.SpanContext(
        int(TRACE_ID, 16), int(SPAN_ID, 16), is_remote=True, trace_flags=trace.TraceFlags(1)
    )


class Reversing(TraceContextTextMapPropagator):
    def extract(self, carrier, context=None, getter=None):
        return super().extract({"traceparent": f"00-{TRACE_ID[::-1]}-{SPAN_ID}-01"}, context)


@dataclass
class NotHashable(Reversing):
    """A propagator that cannot be the key of a cache."""


@pytest.mark.usefixtures("restore_propagator")
@pytest.mark.parametrize(
    ("propagator", "trace_id"),
    [
        (TraceContextTextMapPropagator(), TRACE_ID),
        (CompositePropagator([TraceContextTextMapPropagator()]), TRACE_ID),
        (CompositePropagator([W3CBaggagePropagator(), TraceContextTextMapPropagator()]), TRACE_ID),
        (CompositePropagator([Reversing(), W3CBaggagePropagator()]), TRACE_ID[::-1]),
        (Reversing(), TRACE_ID[::-1]),
        (NotHashable(), TRACE_ID[::-1]),
        (CompositePropagator([]), None),
    ],
)
def test_other_propagators_are_asked(propagator: Any, trace_id: str | None):
    propagate.set_global_textmap(propagator)

    _, enqueuer = extracted({"traceparent": TRACEPARENT})

    assert remote_span({"traceparent": TRACEPARENT}) is None
    assert (enqueuer and format(enqueuer.trace_id, "032x")) == trace_id
