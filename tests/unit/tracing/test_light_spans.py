"""A light span is, to whoever looks, the span that the SDK would have made."""

import contextlib
import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Running, TaskCompleted
from django_partisan.tracing import TracingSubscriber, spans
from django_partisan.tracing.carrying import ROOT
from django_partisan.tracing.light_span import LightSpan
from django_partisan.tracing.provider import Provider

from .conftest import Reading, Recording, provider_of_our_own
from .driving import SLOT, attributes, complete, event, linked, parent_id, run_of, span_id

ELSEWHERE = SpanContext(7, 9, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


@pytest.fixture
def subscribed() -> Iterator[Callable[[Provider], None]]:
    """Return a function that has runs traced as in a worker, by a provider."""
    subscribers: list[TracingSubscriber] = []

    def subscribe(provider: Provider) -> None:
        subscribers.append(TracingSubscriber(4711, SLOT, tracer_provider=provider))
        bus.subscribe(subscribers[-1])

    yield subscribe
    for subscriber in subscribers:
        bus.unsubscribe(subscriber)


def run_with(write: Callable[[Span], Any], completes: bool = True) -> Any:
    """Run a task that does something with its span; return what came of that."""
    run = run_of()
    with bus.around(Running(run, None)):
        found = write(trace.get_current_span())
        if completes:
            bus.emit(TaskCompleted, run, 1.5)
    return found


class TestWrittenTo:
    """These run with spans of the SDK's and with light ones: what comes out is the same."""

    def test_attributes_of_the_tasks_own_are_beside_ours(self, recording: Recording):
        def write(span: Span) -> None:
            span.set_attribute("shop.order", 12)
            span.set_attributes({"shop.city": "Berlin"})

        run_with(write)
        complete()

        written, plain = recording.spans("process")
        assert attributes(written) == {**attributes(plain), "shop.order": 12, "shop.city": "Berlin"}
        assert event(written, "task.completed") == event(plain, "task.completed")
        assert [seen.name for seen in written.events] == ["task.completed"]

    def test_task_may_correct_what_we_say(self, recording: Recording):
        run_with(lambda span: span.set_attribute(spans.PROCESSOR, "of the task's own"))

        assert attributes(recording.span("process"))[spans.PROCESSOR] == "of the task's own"

    def test_events_keep_their_order(self, recording: Recording):
        run_with(lambda span: span.add_event("half", {"done": 50}))

        process = recording.span("process")
        assert [seen.name for seen in process.events] == ["half", "task.completed"]
        assert event(process, "half") == {"done": 50}

    def test_exception_that_the_task_handled_is_recorded(self, recording: Recording):
        run_with(lambda span: span.record_exception(ValueError("no"), {"handled": True}))

        assert event(recording.span("process"), "exception")["exception.type"] == "ValueError"

    def test_status_of_the_tasks_own_stays(self, recording: Recording):
        run_with(lambda span: span.set_status(Status(StatusCode.ERROR, "half of it")))

        status = recording.span("process").status
        assert (status.status_code, status.description) == (StatusCode.ERROR, "half of it")

    def test_name_of_the_tasks_own_stays(self, recording: Recording):
        run_with(lambda span: span.update_name("process invoices"))

        assert recording.span("process").name == "process invoices"

    def test_link_of_the_tasks_own_is_added(self, recording: Recording):
        run_with(lambda span: span.add_link(ELSEWHERE, {"why": "merged"}))

        process = recording.span("process")
        assert linked(process) == [9]
        assert dict(process.links[0].attributes or {}) == {"why": "merged"}

    def test_task_may_end_its_span(self, recording: Recording):
        recording_then = run_with(lambda span: (span.is_recording(), span.end(), span.is_recording()))

        assert recording_then == (True, None, False)
        assert "task.completed" not in [seen.name for seen in recording.span("process").events]

    @pytest.mark.parametrize("completes", [True, False])
    @pytest.mark.parametrize("writes", [True, False])
    def test_span_knows_when_it_ended(self, recording: Recording, completes: bool, writes: bool):
        def look(span: Any) -> tuple[Any, int | None]:
            if writes:
                span.set_attribute("shop.order", 12)
            return span, span.end_time

        span, end_then = run_with(look, completes)

        assert end_then is None
        assert span.end_time == recording.span("process").end_time >= span.start_time

    def test_run_without_an_outcome_has_its_attributes(self, recording: Recording):
        run_with(lambda span: None, completes=False)

        found = attributes(recording.span("process"))
        assert found[spans.MESSAGE_ID] == "7"
        assert spans.OUTCOME not in found

    def test_task_sees_what_its_span_is(self, recording: Recording):
        def look(span: Any) -> tuple[Any, ...]:
            return span.name, span.kind, span.attributes[spans.ATTEMPT], span.links, span.get_span_context()

        name, kind, attempt, links, context = run_with(look)

        assert (name, kind, attempt, links) == ("process images", SpanKind.CONSUMER, 1, ())
        assert context == recording.span("process").get_span_context()

    def test_spans_of_the_tasks_own_are_its_children(self, recording: Recording):
        run_with(lambda span: recording.tracer.start_span("query").end())

        assert parent_id(recording.span("query")) == span_id(recording.span("process"))

    def test_what_the_tasks_code_let_out_of_the_span_is_an_error(self, recording: Recording):
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
        span.set_attribute("late", True)
        span.end()

        assert span.end_time == ended.end_time
        assert [attributes(found) for found in recording.spans("process")] == [attributes(ended)]
        assert "late" not in attributes(ended)
        assert span.attributes[spans.OUTCOME] == "completed"

    def test_what_the_task_wrote_after_it_was_told_complete_is_kept(self, recording: Recording):
        run = run_of()
        with bus.around(Running(run, None)):
            bus.emit(TaskCompleted, run, 1.5)
            trace.get_current_span().set_attribute("late", True)

        found = recording.span("process")
        assert attributes(found)["late"] is True
        assert attributes(found)[spans.OUTCOME] == "completed"
        assert event(found, "task.completed")["event.duration"] == 1_500_000_000


class TestStarting:
    def test_runs_of_our_own_provider_are_light(self, subscribed):
        subscribed(provider_of_our_own(Reading()))

        assert isinstance(run_with(lambda span: span), LightSpan)

    def test_runs_are_the_sdks_once_somebody_else_listens(self, subscribed):
        provider = provider_of_our_own(Reading())
        subscribed(provider)
        provider.add_span_processor(SpanProcessor())

        assert isinstance(run_with(lambda span: span), ReadableSpan)

    @pytest.mark.parametrize("writes", [True, False])
    def test_who_listens_from_the_middle_of_a_run_hears_of_its_end(self, subscribed, writes: bool):
        heard: list[ReadableSpan] = []

        class Listening(SpanProcessor):
            def on_end(self, span: ReadableSpan) -> None:
                heard.append(span)

        def listen(span: Span) -> None:
            if writes:
                span.set_attribute("shop.order", 12)
            provider.add_span_processor(Listening())

        provider = provider_of_our_own(Reading())
        subscribed(provider)
        run_with(listen)

        [process] = heard
        assert attributes(process)[spans.OUTCOME] == "completed"
        assert event(process, "task.completed")["event.outcome"] == "success"

    @pytest.mark.parametrize("writes", [True, False])
    def test_who_listens_from_the_middle_of_a_run_may_look_at_the_current_span(
        self, subscribed, writes: bool
    ):
        started: list[tuple[str, Any]] = []

        class Looking(SpanProcessor):
            def on_start(self, span: Any, parent_context: Any = None) -> None:
                current: Any = trace.get_current_span()
                started.append((span.name, current.attributes[spans.MESSAGE_ID]))

        def listen(span: Span) -> None:
            provider.add_span_processor(Looking())
            if writes:
                span.set_attribute("shop.order", 12)

        provider = provider_of_our_own(Reading())
        subscribed(provider)
        run_with(listen)

        assert started == [("process images", "7")]

    def test_error_of_who_listens_is_counted_and_does_not_reach_the_task(self, subscribed, capsys):
        class Failing(SpanProcessor):
            def on_start(self, span: Any, parent_context: Any = None) -> None:
                raise ValueError("no")

        def listen(span: Span) -> None:
            provider.add_span_processor(Failing())
            span.set_attribute("shop.order", 12)

        exporter = Reading()
        provider = provider_of_our_own(exporter)
        subscribed(provider)
        before = bus.swallowed["traces"]
        run_with(listen)
        provider.force_flush()

        [process] = exporter.get_finished_spans()
        assert attributes(process)["shop.order"] == 12
        assert attributes(process)[spans.OUTCOME] == "completed"
        assert bus.swallowed["traces"] == before + 1

    @pytest.mark.parametrize("sampler", ["always_off", "parentbased_always_off"])
    def test_run_that_is_not_sampled_is_not_recorded(
        self, subscribed, monkeypatch: pytest.MonkeyPatch, sampler: str
    ):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler)
        exporter = Reading()
        provider = provider_of_our_own(exporter)
        subscribed(provider)
        span = run_with(lambda span: span)
        provider.force_flush()

        context = span.get_span_context()
        assert context.is_valid
        assert not context.trace_flags.sampled
        assert not span.is_recording()
        assert exporter.get_finished_spans() == ()

    def test_child_of_an_unsampled_parent_is_not_recorded(self, subscribed, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_on")
        exporter = Reading()
        provider = provider_of_our_own(exporter)
        subscribed(provider)
        complete({"traceparent": f"00-{1:032x}-{2:016x}-00"}, "child")
        complete({"traceparent": f"00-{3:032x}-{4:016x}-01"}, "child")
        provider.force_flush()

        [process] = exporter.get_finished_spans()
        assert parent_id(process) == 4

    @pytest.mark.parametrize("flags", ["01", "03"])
    def test_flags_are_those_of_the_sdks_spans(self, subscribed, flags: str):
        provider = provider_of_our_own(Reading())
        assert provider.light_spans is not None
        parent = SpanContext(5, 6, is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
        for context in (ROOT, trace.set_span_in_context(trace.NonRecordingSpan(parent), ROOT)):
            of_sdk = provider.get_tracer("the host").start_span("x", context)
            light = provider.light_spans.start("x", context, [], {}, run_of())

            assert light.get_span_context().trace_flags == of_sdk.get_span_context().trace_flags
            assert light.get_span_context().trace_state == of_sdk.get_span_context().trace_state
            of_sdk.end()


class TestLightSpan:
    def light(self) -> LightSpan:
        provider = Provider([Reading()], Resource.create())
        assert provider.light_spans is not None
        span = provider.light_spans.start("process images", ROOT, [Link(ELSEWHERE)], {}, run_of())
        assert isinstance(span, LightSpan)
        return span

    def test_records_until_it_ends(self):
        span = self.light()
        span.complete({})
        before = span.is_recording()
        span.end()

        assert before
        assert not span.is_recording()

    def test_ends_when_it_is_told(self):
        span = self.light()
        span.complete({})
        span.end(1234)

        assert span.end_time == 1234

    def test_looks_like_one_of_the_sdks(self):
        span = self.light()
        shown = repr(span)

        assert shown.replace("LightSpan", "_Span") == repr(span.grown())

    def test_holds_nothing_that_its_task_carries(self):
        provider = provider_of_our_own(Reading())
        assert provider.light_spans is not None
        run = run_of({"traceparent": "x"}, arguments="long")
        span: Any = provider.light_spans.start("x", ROOT, [], {}, run)

        assert (span.run.headers, span.run.arguments) == (None, None)
        assert span.run[:10] == run[:10]

    def test_copy_is_one(self):
        span = self.light()

        assert copy.copy(span).get_span_context() == span.get_span_context()

    def test_what_no_span_has_is_an_error(self):
        with pytest.raises(AttributeError, match="colour"):
            _ = self.light().colour
