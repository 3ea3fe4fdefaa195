"""What a task does to the span of its run, and when there is none."""

import contextlib
import copy
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import TaskCompleted
from django_partisan.telemetry.events.scopes import Running
from django_partisan.tracing import spans

from .conftest import Recording, provider_of_our_own
from .driving import attributes, complete, event, linked, parent_id, run_of

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
    """The task uses the span of its run."""

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


class TestStart:
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
