"""A plain span looks exactly like the span that the SDK would have made."""

import contextlib
import copy
import json
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import TaskCompleted
from django_partisan.telemetry.events.scopes import Running
from django_partisan.tracing import spans
from django_partisan.tracing.context import ROOT
from django_partisan.tracing.plain_spans import PlainSpan, PlainTracer

from .conftest import Recording, provider_of_our_own
from .driving import (
    attributes,
    bulk_enqueue,
    cancel,
    claimed,
    complete,
    enqueue,
    event,
    fail,
    linked,
    parent_id,
    postpone,
    retry,
    run_of,
    span_id,
    tick,
)

ELSEWHERE = SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def run_with(write: Callable[[Any], Any], completes: bool = True, **others: Any) -> Any:
    """Run a task that calls ``write`` with its span; return the result."""
    run = run_of(**others)
    with bus.around(Running(run, None)):
        found = write(trace.get_current_span())
        if completes:
            bus.emit(TaskCompleted, run, 1.5)
    return found


class TestUsed:
    """With the SDK's spans and with plain ones, the exported result is the same."""

    def test_all_that_the_task_writes_is_kept_beside_ours(self, recording: Recording):
        def write(span: Span) -> None:
            span.set_attribute("shop.order", 12)
            span.set_attributes({"shop.city": "Berlin", spans.PROCESSOR: "of the task's own"})
            span.add_event("half", {"done": 50})
            span.record_exception(ValueError("no"), {"handled": True})
            span.set_status(Status(StatusCode.ERROR, "half of it"))
            span.add_link(ELSEWHERE, {"why": "merged"})
            span.update_name("process invoices")

        run_with(write)
        complete()

        written, plain = recording.spans("process")
        assert attributes(written) == {
            **attributes(plain),
            "shop.order": 12,
            "shop.city": "Berlin",
            spans.PROCESSOR: "of the task's own",
        }
        assert [seen.name for seen in written.events] == ["half", "exception", "task.completed"]
        assert event(written, "half") == {"done": 50}
        assert event(written, "exception")["exception.type"] == "ValueError"
        assert event(written, "task.completed") == event(plain, "task.completed")
        assert (written.status.status_code, written.status.description) == (StatusCode.ERROR, "half of it")
        assert linked(written) == [9]
        assert dict(written.links[0].attributes or {}) == {"why": "merged"}
        assert written.name == "process invoices"

    def test_task_may_end_its_span(self, recording: Recording):
        recording_then = run_with(lambda span: (span.is_recording(), span.end(), span.is_recording()))

        assert recording_then == (True, None, False)
        assert "task.completed" not in [seen.name for seen in recording.span("process").events]

    def test_with_block_of_the_task_ends_its_span(self, recording: Recording):
        def use(span: Span) -> bool:
            with span:
                span.set_attribute("shop.order", 12)
            return span.is_recording()

        assert run_with(use) is False
        assert attributes(recording.span("process"))["shop.order"] == 12

    @pytest.mark.parametrize("completes", [True, False])
    @pytest.mark.parametrize("writes", [True, False])
    def test_span_knows_when_it_ended(self, recording: Recording, completes: bool, writes: bool):
        def look(span: Any) -> tuple[Any, int | None]:
            if writes:
                span.set_attribute("shop.order", 12)
            return span, span.end_time

        span, end_then = run_with(look, completes)

        found = recording.span("process")
        assert end_then is None
        assert span.end_time == found.end_time >= span.start_time
        assert attributes(found).get(spans.OUTCOME) == ("completed" if completes else None)

    def test_task_sees_what_its_span_is(self, recording: Recording):
        def look(span: Any) -> tuple[Any, ...]:
            return span.name, span.kind, span.attributes[spans.ATTEMPT], span.links, span.get_span_context()

        name, kind, attempt, links, context = run_with(look)

        assert (name, kind, attempt, links) == ("process images", SpanKind.CONSUMER, 1, ())
        assert context == recording.span("process").get_span_context()

    def test_error_that_leaves_a_with_block_of_the_task_is_recorded(self, recording: Recording):
        def raise_within(span: Span) -> None:
            with contextlib.suppress(ValueError), span:
                raise ValueError("no")

        run_with(raise_within)

        process = recording.span("process")
        assert process.status.status_code is StatusCode.ERROR
        assert event(process, "exception")["exception.message"] == "no"

    def test_nothing_comes_of_what_is_done_after_the_end(self, recording: Recording):
        span: Any = run_with(lambda span: span)
        [ended] = recording.spans("process")
        before = ended.to_json()
        span.set_attribute("late", True)
        span.set_attributes({"late": True})
        span.add_event("late")
        span.add_link(ELSEWHERE)
        span.update_name("late")
        span.set_status(StatusCode.ERROR)
        span.end()

        assert not span.is_recording()
        assert [found.to_json() for found in recording.spans("process")] == [before]
        assert span.to_json() == before
        assert span.attributes[spans.OUTCOME] == "completed"

    def test_what_the_task_writes_after_its_outcome_is_kept(self, recording: Recording):
        run = run_of()
        with bus.around(Running(run, None)):
            bus.emit(TaskCompleted, run, 1.5)
            trace.get_current_span().set_attribute("late", True)

        found = recording.span("process")
        assert attributes(found)["late"] is True
        assert attributes(found)[spans.OUTCOME] == "completed"
        assert event(found, "task.completed")["event.duration"] == 1_500_000_000

    @pytest.mark.parametrize("writes", [True, False])
    def test_processor_added_in_the_middle_of_a_run_gets_its_end_alone(
        self, recording: Recording, writes: bool
    ):
        called: list[tuple[str, Any]] = []

        class Adding(SpanProcessor):
            def on_start(self, span: Any, parent_context: Any = None) -> None:
                called.append(("start", span))

            def on_end(self, span: ReadableSpan) -> None:
                called.append(("end", span))

        def add(span: Span) -> None:
            recording.provider.add_span_processor(Adding())
            if writes:
                span.set_attribute("shop.order", 12)

        run_with(add)

        [(what, process)] = called
        assert what == "end"
        assert attributes(process)[spans.OUTCOME] == "completed"
        assert event(process, "task.completed")["event.outcome"] == "success"

    def test_what_no_span_has_is_an_error(self, recording: Recording):
        assert not run_with(lambda span: hasattr(span, "colour"))
        with pytest.raises(AttributeError, match="colour"):
            run_with(lambda span: (span.name, span.colour))

    def test_copy_is_of_the_same_span(self, recording: Recording):
        copied = run_with(copy.copy)

        assert copied.get_span_context() == recording.span("process").get_span_context()


HEADERS = {"traceparent": f"00-{5:032x}-{6:016x}-01"}
AGAIN = {**HEADERS, "partisan.previous_span": f"00-{9:032x}-{10:016x}-01"}


def content(span: ReadableSpan) -> dict[str, Any]:
    """Return what a span contains, without ids and times."""
    found = json.loads(span.to_json())
    for key in ("context", "parent_id", "start_time", "end_time"):
        found[key] = found[key] is not None
    for part in (*found["events"], *found["links"]):
        part.pop("timestamp", None)
        part.pop("context", None)
    return {**found, "parent": span.parent and span.parent.is_remote, "scope": span.instrumentation_scope}


STEPS: dict[str, Callable[[], Any]] = {
    "completed": complete,
    "linked": partial(complete, HEADERS),
    "child": partial(complete, HEADERS, "child"),
    "unrelated": partial(complete, HEADERS, "none"),
    "again": partial(complete, AGAIN, attempt=2, retries=1),
    "postponed": postpone,
    "retried": retry,
    "failed": fail,
    "cancelled": cancel,
    "enqueued": enqueue,
    "in bulk": partial(bulk_enqueue, [1, 2], ["Resize", "Crop"]),
    "ticks": tick,
    "claimed": partial(claimed, HEADERS, None),
}


@pytest.mark.parametrize("name", STEPS)
def test_spans_have_the_content_of_the_sdks_spans(traced, name: str):
    found = []
    for makes_plain_spans in (True, False):
        exporter = InMemorySpanExporter()
        provider = provider_of_our_own(exporter)
        provider.makes_plain_spans = makes_plain_spans
        before = bus.subscribers()
        traced(provider)
        STEPS[name]()
        provider.force_flush()
        bus.exchange(bus.subscribers(), before)
        spans_of_step = exporter.get_finished_spans()
        assert {isinstance(span, PlainSpan) for span in spans_of_step} == {makes_plain_spans}
        found.append([content(span) for span in spans_of_step])

    plain, of_sdk = found
    assert plain == of_sdk


class TestLimits:
    def test_newest_128_attributes_events_and_links_are_kept_and_the_others_counted(
        self, recording: Recording
    ):
        def write(span: Any) -> int:
            own = len(span.attributes)
            for number in range(200):
                span.set_attribute(f"shop.{number}", number)
                span.add_event(f"event {number}")
                span.add_link(SpanContext(7, number + 1, is_remote=True))
            return own

        own = run_with(write, completes=False)

        found = recording.span("process")
        assert set(attributes(found)) == {f"shop.{number}" for number in range(72, 200)}
        assert [seen.name for seen in found.events] == [f"event {number}" for number in range(72, 200)]
        assert linked(found) == list(range(73, 201))
        assert (found.dropped_events, found.dropped_links) == (72, 72)
        assert found.dropped_attributes == 72 + own

    @pytest.mark.parametrize("value", [("a", "b"), [1, 2], [], b"bytes", 1.5, True, "text", 7])
    def test_values_are_kept_as_the_sdk_keeps_them(self, recording: Recording, value: Any):
        expected = BoundedAttributes(attributes={"shop.value": value})

        def write(span: Span) -> None:
            given = {"shop.value": value}
            span.set_attributes(given)
            span.add_event("seen", given)
            span.add_link(ELSEWHERE, given)
            given["shop.value"] = "changed later"

        run_with(write)

        found = recording.span("process")
        assert attributes(found)["shop.value"] == expected["shop.value"]
        assert event(found, "seen") == expected
        assert found.links[0].attributes == expected

    def test_attributes_that_are_not_valid_are_dropped_or_converted_as_the_sdk_does(
        self, recording: Recording
    ):
        invalid: Any = {"": 1, "shop.object": object, "shop.order": 12}

        def write(span: Span) -> None:
            span.set_attributes(invalid)
            span.set_attribute("shop.later", 13)
            span.add_event("seen", invalid)

        run_with(write)

        found, expected = recording.span("process"), dict(BoundedAttributes(attributes=invalid))
        seen = attributes(found)
        assert {key: value for key, value in seen.items() if key.startswith("shop.")} == {
            **expected,
            "shop.later": 13,
        }
        assert event(found, "seen") == expected

    @pytest.mark.parametrize("nothing", [trace.INVALID_SPAN_CONTEXT, None])
    def test_link_to_nothing_is_dropped(self, recording: Recording, nothing: Any):
        run_with(lambda span: span.add_link(nothing))

        assert recording.span("process").links == ()

    @pytest.mark.parametrize("wrong", ["ERROR", None])
    def test_what_is_no_status_is_ignored(self, recording: Recording, wrong: Any):
        run_with(lambda span: span.set_status(wrong))

        assert recording.span("process").status.status_code is StatusCode.UNSET

    def test_status_ok_is_final_and_unset_changes_nothing(self, recording: Recording):
        def write(span: Span) -> None:
            span.set_status(StatusCode.ERROR, "no")
            span.set_status(StatusCode.UNSET)
            seen.append(span.status)  # type: ignore[attr-defined]
            span.set_status(Status(StatusCode.OK))
            span.set_status(StatusCode.ERROR, "too late")

        seen: list[Status] = []
        run_with(write)

        assert (seen[0].status_code, seen[0].description) == (StatusCode.ERROR, "no")
        status = recording.span("process").status
        assert (status.status_code, status.description) == (StatusCode.OK, None)


@pytest.fixture
def frequent_switches() -> Iterator[None]:
    """Let the interpreter switch threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_what_many_threads_write_is_complete(frequent_switches: None, recording: Recording):
    def write(span: Span) -> None:
        together = threading.Barrier(4)

        def from_thread(thread: int) -> None:
            together.wait()
            for number in range(25):
                span.set_attribute(f"shop.{thread}.{number}", number)
                span.add_event(f"{thread}.{number}")

        threads = [threading.Thread(target=from_thread, args=(thread,)) for thread in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    for number in range(20):
        run_with(write, id=number)

    for process in recording.spans("process"):
        assert len([key for key in attributes(process) if key.startswith("shop.")]) == 100
        assert len(process.events) == 101


def test_attributes_can_be_read_while_a_thread_writes_and_ends_the_span(frequent_switches: None):
    provider = provider_of_our_own(InMemorySpanExporter())
    for _ in range(20):
        span: Any = provider.get_tracer(spans.TRACER).start_span("x", ROOT)

        def write(span: Any = span) -> None:
            for number in range(100):
                span.set_attribute(f"shop.{number}", number)
            span.end()

        writer = threading.Thread(target=write)
        writer.start()
        while span.is_recording():
            assert all(key.startswith("shop.") for key, _ in span.attributes.items())
        writer.join()

        assert len(span.attributes) == 100


class OfSomebody(Sampler):
    """A sampler that decides by an attribute, and adds one."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision

    def should_sample(
        self,
        parent_context: Any,
        trace_id: int,
        name: str,
        kind: Any = None,
        attributes: Any = None,
        links: Any = None,
        trace_state: Any = None,
    ) -> SamplingResult:
        decision = self.decision if attributes[spans.PROCESSOR] == "Resize" else Decision.DROP
        return SamplingResult(decision, {**attributes, "shop.sampled": True, "": "has no key"})

    def get_description(self) -> str:
        return "somebody's"


def test_a_write_to_an_ended_span_is_a_warning_of_the_sdk(caplog: pytest.LogCaptureFixture):
    span = provider_of_our_own(InMemorySpanExporter()).get_tracer(spans.TRACER).start_span("x", ROOT)
    span.end()

    span.set_attribute("shop.late", 1)

    # limit_sdk_warnings() lets each warning of the SDK's loggers pass once a minute.
    assert [record.name for record in caplog.records] == ["opentelemetry.sdk.trace"]


class TestStart:
    @pytest.mark.parametrize(
        ("decision", "is_sampled"), [(Decision.RECORD_AND_SAMPLE, True), (Decision.RECORD_ONLY, False)]
    )
    def test_samplers_own_attributes_and_decision_count(self, traced, decision: Decision, is_sampled: bool):
        provider = provider_of_our_own(InMemorySpanExporter())
        provider.sampler = OfSomebody(decision)
        traced(provider)

        span, other = run_with(lambda span: span), run_with(lambda span: span, processor="Other")

        assert attributes(span)["shop.sampled"] is True
        assert "" not in attributes(span)
        assert span.get_span_context().trace_flags.sampled is is_sampled
        assert other.get_span_context().is_valid
        assert not isinstance(other, ReadableSpan)

    def test_added_processor_gets_start_and_end(self, recording: Recording):
        called: list[tuple[str, str, Any]] = []

        class Marking(SpanProcessor):
            def on_start(self, span: Any, parent_context: Any = None) -> None:
                called.append(("start", span.name, span.end_time))
                span.set_attribute("shop.marked", True)

            def on_end(self, span: ReadableSpan) -> None:
                called.append(("end", span.name, span.end_time))

        recording.provider.add_span_processor(Marking())
        complete()

        process = recording.span("process")
        assert called == [("start", process.name, None), ("end", process.name, process.end_time)]
        assert attributes(process)["shop.marked"] is True

    def test_our_tracer_makes_a_span_current_as_any_tracer(self):
        exporter = InMemorySpanExporter()
        provider = provider_of_our_own(exporter)
        tracer = provider.get_tracer(spans.TRACER, "1")
        with tracer.start_as_current_span("outer") as outer:
            assert trace.get_current_span() is outer
            tracer.start_span("inner").end()
        provider.force_flush()

        inner, found = exporter.get_finished_spans()
        assert parent_id(inner) == span_id(found)

    @pytest.mark.parametrize("sampler", ["always_off", "parentbased_always_off"])
    def test_run_that_is_not_sampled_is_not_recorded(
        self, traced, monkeypatch: pytest.MonkeyPatch, sampler: str
    ):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        exporter = InMemorySpanExporter()
        provider = provider_of_our_own(exporter)
        traced(provider)
        span = run_with(lambda span: span)
        provider.force_flush()

        context = span.get_span_context()
        assert context.is_valid
        assert not context.trace_flags.sampled
        assert not span.is_recording()
        assert exporter.get_finished_spans() == ()

    def test_child_of_an_unsampled_parent_is_not_recorded(self, traced, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")
        exporter = InMemorySpanExporter()
        provider = provider_of_our_own(exporter)
        traced(provider)
        complete({"traceparent": f"00-{1:032x}-{2:016x}-00"}, "child")
        complete({"traceparent": f"00-{3:032x}-{4:016x}-01"}, "child")
        provider.force_flush()

        [process] = exporter.get_finished_spans()
        assert parent_id(process) == 4

    @pytest.mark.parametrize("flags", ["01", "03"])
    def test_flags_are_those_of_the_sdks_spans(self, flags: str):
        provider = provider_of_our_own(InMemorySpanExporter())
        parent = SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
        for context in (ROOT, trace.set_span_in_context(trace.NonRecordingSpan(parent), ROOT)):
            of_sdk = provider.get_tracer("the host").start_span("x", context).get_span_context()
            plain = provider.get_tracer(spans.TRACER).start_span("x", context).get_span_context()

            assert plain.trace_flags == of_sdk.trace_flags
            assert plain.trace_state == of_sdk.trace_state

    def test_of_too_many_links_the_newest_are_kept(self):
        provider = provider_of_our_own(InMemorySpanExporter())
        links = [Link(SpanContext(7, number, is_remote=True)) for number in range(1, 201)]
        span: Any = provider.get_tracer(spans.TRACER).start_span("x", ROOT, links=links)

        assert linked(span) == list(range(73, 201))
        assert span.dropped_links == 72

    def test_a_resource_that_the_sdk_replaces_is_that_of_later_spans(self):
        sdk: Any = provider_of_our_own(InMemorySpanExporter()).get_tracer("the host")
        tracer = PlainTracer(sdk)
        sdk.resource = Resource({"service.instance.id": "of a child"})
        span: Any = tracer.start_span("x", ROOT)

        assert span.resource.attributes["service.instance.id"] == "of a child"

    def test_span_keeps_its_given_times_and_links(self):
        provider = provider_of_our_own(InMemorySpanExporter())
        span: Any = provider.get_tracer(spans.TRACER).start_span(
            "x", ROOT, links=[Link(ELSEWHERE)], start_time=12
        )
        span.end(1234)

        assert (span.start_time, span.end_time, linked(span)) == (12, 1234, [9])
        assert repr(span).startswith('PlainSpan(name="x", context=SpanContext(')
