"""Whatever stands in a row, the task runs; and where nobody should trace, instrumentations do not."""

import json

import pytest
from opentelemetry import baggage, propagate, trace
from opentelemetry import context as context_api
from opentelemetry.instrumentation.utils import is_http_instrumentation_enabled, is_instrumentation_enabled
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Running, TaskCompleted
from django_partisan.tracing import TracingSubscriber, suppressed
from django_partisan.tracing.carrying import extracted, injected, links_to_tasks, traceparent

from .conftest import Recording
from .driving import complete, enqueue, linked, run_of, span_id

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


class TestHostile:
    @pytest.mark.parametrize("headers", HOSTILE, ids=repr)
    @pytest.mark.parametrize("attempt", [1, 2])
    @pytest.mark.parametrize("propagation", ["link", "child", "none"])
    def test_malformed_context_is_ignored(
        self, recording: Recording, headers, attempt: int, propagation: str
    ):
        complete(headers, propagation, attempt=attempt)

        process = recording.span("process")
        assert process.parent is None
        assert linked(process) == []

    @pytest.mark.parametrize(
        "text", [*map(json.dumps, HOSTILE), "", "{", "[" * 200_000], ids=lambda text: text[:40]
    )
    def test_malformed_context_makes_no_link_of_a_claim(self, text: str):
        assert links_to_tasks([text]) == []

    def test_propagator_that_raises_costs_the_context_alone(self, recording: Recording):
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

    def test_propagator_of_somebodys_is_asked(self, recording: Recording):
        class Distrusting(TraceContextTextMapPropagator):
            def extract(self, carrier, context=None, getter=None):
                return context or {}

        headers = enqueue()
        before = propagate.get_global_textmap()
        propagate.set_global_textmap(CompositePropagator([Distrusting()]))
        try:
            complete(headers)
        finally:
            propagate.set_global_textmap(before)

        assert linked(recording.span("process")) == []

    def test_traceparent_with_the_random_flag_is_taken(self, recording: Recording):
        complete({"traceparent": "00-" + "1" * 32 + "-" + "2" * 16 + "-03"})

        assert linked(recording.span("process")) == [int("2" * 16, 16)]


class TestBaggage:
    def test_baggage_travels_with_the_task(self, recording: Recording):
        token = context_api.attach(baggage.set_baggage("shop", "berlin"))
        headers = enqueue()
        context_api.detach(token)

        run = run_of(headers)
        with bus.around(Running(run, None)):
            found = baggage.get_baggage("shop")
            bus.emit(TaskCompleted, run, 0.1)

        assert found == "berlin"
        assert baggage.get_baggage("shop") is None

    def test_baggage_does_not_travel_where_nothing_should(self, recording: Recording):
        token = context_api.attach(baggage.set_baggage("shop", "berlin"))
        headers = enqueue()
        context_api.detach(token)

        with bus.around(Running(run_of(headers), "none")):
            found = baggage.get_baggage("shop")

        assert found is None


class TestSuppressed:
    @pytest.mark.parametrize("quiet", [suppressed, lambda: TracingSubscriber().quiet()])
    def test_instrumentations_are_off_within_and_on_again_after(self, quiet):
        with quiet():
            within = (is_instrumentation_enabled(), is_http_instrumentation_enabled())

        assert within == (False, False)
        assert is_instrumentation_enabled()
        assert is_http_instrumentation_enabled()

    def test_instrumentations_are_on_again_after_an_error(self):
        with pytest.raises(RuntimeError), suppressed():
            raise RuntimeError

        assert is_instrumentation_enabled()


def test_nothing_is_carried_where_there_is_no_context():
    assert injected() == {}
    assert traceparent(trace.INVALID_SPAN) is None
    assert extracted(None) == {}


def test_context_of_a_span_comes_back_as_it_was(recording: Recording):
    headers = enqueue()

    back = trace.get_current_span(extracted(headers)).get_span_context()
    assert back.span_id == span_id(recording.span("send"))
    assert back.is_remote
