"""The task runs whatever its row contains; without tracing, instrumentations are suppressed, too."""

import json

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as context_api
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled, is_instrumentation_enabled
from opentelemetry.propagators.textmap import TextMapPropagator

from django_partisan.telemetry import bus
from django_partisan.telemetry.events.scopes import Running
from django_partisan.tracing import TracingSubscriber
from django_partisan.tracing.context import extracted, injected
from django_partisan.tracing.traceparents import traceparent

from .conftest import Recording
from .driving import claimed_text, complete, enqueue, linked, run_of

HOSTILE = [
    {"traceparent": "x"},
    {"traceparent": ""},
    {"traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
    {"traceparent": "ff-" + "1" * 32 + "-" + "1" * 16 + "-01"},
    {"traceparent": "00-" + "1" * 32 + "-" + "1" * 16 + "-01-more"},
    {"traceparent": "0" * 4000},
    {"traceparent": 7},
    {"traceparent": None},
    {"traceparent": ["a"]},
    {"traceparent": {"a": "b"}},
    {"baggage": "=;=,=,,;" * 50},
    {"baggage": 7},
    {"tracestate": 7, "traceparent": "00-" + "1" * 32 + "-" + "1" * 16 + "-01"},
    {"partisan.previous_span": "x"},
    {"partisan.previous_span": 7},
    {"partisan.previous_span": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
    ["traceparent"],
    "traceparent",
    7,
]


@pytest.mark.parametrize("headers", HOSTILE, ids=repr)
@pytest.mark.parametrize(("attempt", "propagation"), [(1, "link"), (1, "child"), (2, "none")])
def test_malformed_context_is_ignored(recording: Recording, headers, attempt: int, propagation: str):
    complete(headers, propagation, attempt=attempt)

    process = recording.span("process")
    assert process.parent is None
    assert linked(process) == []


@pytest.mark.parametrize(
    "text", [*map(json.dumps, HOSTILE), "", "{", "[" * 200_000], ids=lambda text: text[:40]
)
def test_malformed_context_makes_no_link_of_a_claim(recording: Recording, text: str):
    claimed_text(text)

    assert linked(recording.span("claim")) == []


def test_propagator_that_raises_costs_the_context_alone(recording: Recording):
    class Raising(TextMapPropagator):
        fields = set()

        def extract(self, carrier, context=None, getter=None):
            raise RuntimeError

        def inject(self, carrier, context=None, setter=None):
            """Write nothing."""

    headers = enqueue()
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(Raising())
    try:
        complete(headers)
    finally:
        propagate.set_global_textmap(before)

    assert linked(recording.span("process")) == []


@pytest.mark.parametrize(("propagation", "expected"), [(None, "berlin"), ("none", None)])
def test_baggage_travels_with_the_task_unless_nothing_should(
    recording: Recording, propagation: str | None, expected: str | None
):
    token = context_api.attach(baggage.set_baggage("shop", "berlin"))
    headers = enqueue()
    context_api.detach(token)

    with bus.around(Running(run_of(headers), propagation)):
        found = baggage.get_baggage("shop")

    assert found == expected
    assert baggage.get_baggage("shop") is None


def test_instrumentations_are_off_within_and_on_again_after_an_error():
    with pytest.raises(RuntimeError), TracingSubscriber().quiet():
        within = (is_instrumentation_enabled(), is_http_instrumentation_enabled())
        raise RuntimeError

    assert within == (False, False)
    assert is_instrumentation_enabled()
    assert is_http_instrumentation_enabled()


def test_nothing_is_carried_where_there_is_no_context():
    assert injected() == {}
    assert traceparent(trace.INVALID_SPAN) is None
    assert extracted(None) == ({}, None)
