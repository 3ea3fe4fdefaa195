"""Which spans are made in a task's life, and how they relate to each other."""

import json
import os
import socket
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import OutcomesSettled, TasksClaimed
from django_partisan.telemetry.events.runs import TaskCompleted, TaskFailed
from django_partisan.telemetry.events.scopes import Enqueueing, Running, Ticking
from django_partisan.telemetry.trace_context import process_span_id
from django_partisan.tracing import TracingSubscriber, spans

from .conftest import MANAGER_PID, Recording
from .driving import (
    ERROR,
    PROCESSOR,
    QUEUE,
    SLOT,
    TASK_ID,
    assert_as_declared,
    attributes,
    bulk_enqueue,
    cancel,
    claimed,
    complete,
    enqueue,
    event,
    fail,
    interrupted,
    linked,
    parent_id,
    postpone,
    refuse_to_enqueue,
    retry,
    run_of,
    span_id,
    tick,
    trace_id,
    traceparent_of,
)

CLIENT = f"{socket.gethostname()}:{MANAGER_PID}"


class TestTicks:
    def test_a_batch_has_a_root_span_to_which_the_runs_link(self, recording: Recording):
        with recording.tracer.start_as_current_span("loop"):
            first, second = tick(2)
        complete(first)

        batch = recording.span("schedule")
        found = attributes(batch)
        assert_as_declared(batch, spans.SCHEDULE)
        assert (batch.name, batch.kind, batch.parent) == (f"schedule {QUEUE}", SpanKind.PRODUCER, None)
        assert found["messaging.batch.message_count"] == 2
        assert str(found["messaging.client.id"]).startswith(CLIENT)
        assert first["traceparent"] == second["traceparent"]
        assert linked(recording.span("process")) == [span_id(batch)]

    def test_a_batch_that_is_rolled_back_has_failed(self, recording: Recording):
        with pytest.raises(ValueError, match="refused"), bus.around(Ticking(QUEUE)):
            raise ValueError("refused")

        batch = recording.span("schedule")
        assert batch.status.status_code is StatusCode.ERROR
        assert attributes(batch)["error.type"] == "ValueError"


class TestEnqueueing:
    def test_send_span_is_a_child_of_the_current_span_and_its_context_goes_into_the_row(
        self, recording: Recording
    ):
        with recording.tracer.start_as_current_span("request") as request:
            headers = enqueue()
            assert trace.get_current_span() is request

        send = recording.span("send")
        found = attributes(send)
        assert_as_declared(send, spans.SEND)
        assert send.name == f"send {QUEUE}"
        assert parent_id(send) == request.get_span_context().span_id
        assert headers["traceparent"] in (traceparent_of(send, flags) for flags in ("01", "03"))
        assert found["messaging.message.id"] == str(TASK_ID)
        assert found["partisan.task.deduplicated"] is False
        assert found["messaging.operation.name"] == found["messaging.operation.type"] == "send"
        assert found["partisan.processor"] == PROCESSOR

    def test_duplicate_is_marked_on_the_send_span(self, recording: Recording):
        enqueue(task_id=99, deduplicated=True)

        found = attributes(recording.span("send"))
        assert found["messaging.message.id"] == "99"
        assert found["partisan.task.deduplicated"] is True

    @pytest.mark.parametrize(("count", "declared"), [(1, spans.SEND), (2, spans.BATCH_SEND)])
    def test_failed_enqueueing_is_an_error_with_one_exception_and_ends_every_create_span(
        self, recording: Recording, count: int, declared: str
    ):
        with pytest.raises(ValueError, match="no column"):
            refuse_to_enqueue(ValueError("no column"), count)

        send, creates = recording.span("send"), recording.spans("create")
        assert_as_declared(send, declared)
        assert (send.status.status_code, send.status.description) == (StatusCode.ERROR, "no column")
        assert attributes(send)["error.type"] == "ValueError"
        assert event(send, "exception")["exception.type"] == "ValueError"
        assert len(creates) == (0 if count == 1 else count)
        assert all("messaging.message.id" not in attributes(span) for span in (send, *creates))

    def test_enqueueing_that_names_no_row_has_no_message_id(self, recording: Recording):
        with bus.around(Enqueueing(QUEUE, PROCESSOR)):
            pass

        assert "messaging.message.id" not in attributes(recording.span("send"))

    def test_context_that_came_in_from_elsewhere_goes_into_the_row_without_an_sdk(self):
        incoming = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))

        with trace.use_span(trace.NonRecordingSpan(incoming)):
            headers = TracingSubscriber().headers()

        assert headers == {"traceparent": f"00-{1:032x}-{2:016x}-01"}

    def test_each_task_of_a_bulk_has_a_create_span_that_its_row_carries(self, recording: Recording):
        carried = bulk_enqueue([1, 2], ["Resize", "Crop"])

        batch, creates = recording.span("send"), recording.spans("create")
        assert_as_declared(batch, spans.BATCH_SEND)
        for create in creates:
            assert_as_declared(create, spans.CREATE)
        assert attributes(batch)["messaging.batch.message_count"] == 2
        assert linked(batch) == [span_id(create) for create in creates]
        assert {parent_id(create) for create in creates} == {span_id(batch)}
        assert [attributes(create)["messaging.message.id"] for create in creates] == ["1", "2"]
        assert [attributes(create)["partisan.processor"] for create in creates] == ["Resize", "Crop"]
        assert [headers["traceparent"][:-3] for headers in carried] == [
            traceparent_of(create) for create in creates
        ]

    def test_bulk_of_one_is_a_send(self, recording: Recording):
        [headers] = bulk_enqueue([5], ["Resize"])

        send = recording.span("send")
        assert send.kind is SpanKind.PRODUCER
        assert attributes(send)["messaging.message.id"] == "5"
        assert headers["traceparent"].startswith(traceparent_of(send))
        assert recording.spans("create") == []


class TestPropagation:
    @pytest.mark.parametrize("enqueuer", ["send", "create"])
    @pytest.mark.parametrize(
        ("of_processor", "setting", "expected"),
        [
            (None, "link", "link"),
            (None, "child", "child"),
            (None, "none", "none"),
            ("link", "child", "link"),
            ("child", "link", "child"),
            ("none", "link", "none"),
        ],
    )
    def test_run_relates_to_its_enqueuer_as_the_processor_or_else_the_setting_says(
        self, recording: Recording, settings, enqueuer: str, of_processor, setting: str, expected: str
    ):
        settings.PARTISAN_OBSERVABILITY = {"TRACE_PROPAGATION": setting}
        headers = enqueue() if enqueuer == "send" else bulk_enqueue([1, 2], ["Resize"] * 2)[0]

        complete(headers, of_processor)

        first, process = recording.spans(enqueuer)[0], recording.span("process")
        assert linked(process) == ([span_id(first)] if expected != "none" else [])
        assert parent_id(process) == (span_id(first) if expected == "child" else None)
        assert (trace_id(process) == trace_id(first)) is (expected == "child")

    @pytest.mark.parametrize("propagation", ["link", "child", "none"])
    def test_later_run_links_to_the_enqueuer_and_the_previous_run_in_every_mode(
        self, recording: Recording, settings, propagation: str
    ):
        settings.PARTISAN_OBSERVABILITY = {"TRACE_PROPAGATION": propagation}

        carried = postpone(enqueue())
        carried = retry(carried, attempt=2, postpones=1)
        complete(carried, attempt=3, postpones=1, retries=1)

        first, second, third = recording.spans("process")
        send = recording.span("send")
        assert linked(second) == [span_id(send), span_id(first)]
        assert linked(third) == [span_id(send), span_id(second)]
        assert third.parent is None
        assert [dict(link.attributes or {}) for link in third.links] == [
            {},
            {"partisan.link": "previous_run"},
        ]

    @pytest.mark.parametrize("headers", [None, {}, {"request_id": "r"}])
    def test_task_without_trace_context_has_a_span_that_is_a_root(self, recording: Recording, headers):
        with recording.tracer.start_as_current_span("of the worker's own"):
            complete(headers)

        process = recording.span("process")
        assert_as_declared(process, spans.PROCESS)
        assert process.parent is None
        assert linked(process) == []

    def test_task_enqueued_in_a_run_is_the_runs_child(self, recording: Recording):
        run = run_of(enqueue())
        with bus.around(Running(run, None)):
            headers = enqueue(task_id=8)
            put_back = bus.headers()
            bus.emit(TaskCompleted, run, 0.1)

        process, inner = recording.span("process"), recording.spans("send")[1]
        assert parent_id(inner) == span_id(process)
        assert headers["traceparent"].startswith(traceparent_of(inner))
        assert put_back["partisan.previous_span"].startswith(traceparent_of(process))


FAILURE = {"error.type": ERROR.type}
OUTCOMES: list[tuple[Callable[..., Any], str, dict[str, Any], dict[str, Any]]] = [
    (complete, "completed", {}, {"event.outcome": "success"}),
    (
        postpone,
        "postponed",
        {"partisan.task.delay_seconds": 60.0},
        {"event.outcome": "unknown", "event.reason": "later"},
    ),
    (
        retry,
        "retried",
        {"partisan.task.delay_seconds": 30.0, **FAILURE},
        {"event.outcome": "failure", "partisan.task.retries_left": 2},
    ),
    (fail, "failed", FAILURE, {"event.outcome": "failure", "event.reason": "error"}),
    (cancel, "cancelled", {}, {"event.outcome": "unknown", "event.reason": ERROR.message}),
]


class TestRun:
    @pytest.mark.parametrize(("run", "outcome", "more", "fields"), OUTCOMES, ids=lambda value: str(value)[:9])
    def test_outcome_is_in_attributes_status_and_one_event(
        self, recording: Recording, run, outcome: str, more: dict[str, Any], fields: dict[str, Any]
    ):
        run(enqueue(), wait_seconds=2, retries=1, postpones=4, attempt=6, priority=0)

        process = recording.span("process")
        assert_as_declared(process, spans.PROCESS)
        of_task = {
            name.removeprefix("partisan.task."): value
            for name, value in attributes(process).items()
            if name.startswith("partisan.task.") and name not in more
        }
        assert of_task == {
            "wait_seconds": 2.0,
            "retries": 1,
            "postpones": 4,
            "attempt": 6,
            "priority": 0,
            "outcome": outcome,
        }
        assert attributes(process).items() >= more.items()
        assert attributes(process)["messaging.message.id"] == str(TASK_ID)
        assert attributes(process)["messaging.client.id"] == f"{CLIENT}:{SLOT}"
        assert process.name == f"process {QUEUE}"
        assert event(process, f"task.{outcome}") == {
            **fields,
            "event.duration": 1_500_000_000,
            "partisan.worker.slot": SLOT,
            "partisan.worker.generation": 2,
        }

    @pytest.mark.parametrize("run", [retry, fail])
    def test_error_is_the_status_and_one_exception(self, recording: Recording, run):
        run()

        process = recording.span("process")
        assert (process.status.status_code, process.status.description) == (StatusCode.ERROR, ERROR.message)
        assert event(process, "exception") == {
            "exception.type": ERROR.type,
            "exception.message": ERROR.message,
            "exception.stacktrace": ERROR.stack_trace,
        }
        assert len(process.events) == 2

    @pytest.mark.parametrize("run", [complete, postpone])
    def test_no_error_leaves_the_status_unset(self, recording: Recording, run):
        run()

        process = recording.span("process")
        assert process.status.status_code is StatusCode.UNSET
        assert len(process.events) == 1

    def test_postponed_run_without_a_reason(self, recording: Recording):
        postpone(reason=None)

        assert "event.reason" not in event(recording.span("process"), "task.postponed")

    @pytest.mark.parametrize(
        ("outcome", "status"), [((), StatusCode.ERROR), ((TaskCompleted, 0.1), StatusCode.UNSET)]
    )
    def test_error_that_leaves_a_run_is_recorded_unless_its_outcome_was(
        self, recording: Recording, outcome: tuple[Any, ...], status: StatusCode
    ):
        with pytest.raises(KeyboardInterrupt):
            interrupted(*outcome)

        process = recording.span("process")
        assert process.status.status_code is status
        assert attributes(process).get("error.type") == (None if outcome else "KeyboardInterrupt")

    def test_managers_event_of_another_run_is_no_outcome_of_this_one(self, recording: Recording):
        bus.emit(TaskCompleted, run_of(), 1.0)
        with bus.around(Running(run_of(), None)):
            bus.emit(TaskFailed, run_of(id=TASK_ID + 1), None, "worker_lost", ERROR)

        assert recording.span("process").events == ()

    def test_failure_without_a_duration_has_none(self, recording: Recording):
        run = run_of()
        with bus.around(Running(run, None)):
            bus.emit(TaskFailed, run, None, "unregistered", ERROR)

        assert "event.duration" not in event(recording.span("process"), "task.failed")

    def test_span_is_current_while_the_task_runs_and_its_id_is_known(self, recording: Recording):
        with bus.around(Running(run_of(), None)):
            known = process_span_id.get()
            recording.tracer.start_span("resize").end()

        process = recording.span("process")
        assert parent_id(recording.span("resize")) == span_id(process)
        assert known == f"{span_id(process):016x}"
        assert process_span_id.get() is None
        assert not trace.get_current_span().get_span_context().is_valid


class TestClaimsAndSettles:
    def test_claim_span_is_a_root_with_a_link_per_task(self, recording: Recording):
        first, second = enqueue(1), enqueue(2)
        with recording.tracer.start_as_current_span("loop"):
            claimed(first, {}, second)

        claim = recording.span("claim")
        assert_as_declared(claim, spans.CLAIM)
        assert claim.name == f"claim {QUEUE}"
        assert claim.parent is None
        assert claim.start_time is not None
        assert claim.end_time == claim.start_time + 500_000_000
        assert linked(claim) == [span_id(send) for send in recording.spans("send")]
        assert attributes(claim)["messaging.batch.message_count"] == 3
        assert attributes(claim)["messaging.client.id"] == CLIENT
        assert attributes(claim)["messaging.operation.name"] == "claim"
        assert "messaging.operation.type" not in attributes(claim)  # the conventions define no such type

    def test_claim_has_at_most_128_links(self, recording: Recording):
        headers = enqueue()
        claimed(*[headers] * 200)

        assert len(recording.span("claim").links) == 128

    def test_empty_claims_and_by_default_settles_have_no_span(self, recording: Recording):
        claimed()
        bus.emit(OutcomesSettled, QUEUE, 1, 0.1, (), (1,))

        assert recording.spans("claim") == recording.spans("settle") == []

    def test_claims_are_not_traced_if_switched_off(self, recording: Recording, settings):
        settings.PARTISAN_OBSERVABILITY = {"TRACE_CLAIMS": False}
        bus.refresh()

        claimed(None)

        assert recording.spans("claim") == []

    def test_settle_span_links_to_the_runs_it_settles(self, recording: Recording, settings):
        settings.PARTISAN_OBSERVABILITY = {"TRACE_SETTLES": True}
        worker = TracingSubscriber(MANAGER_PID, SLOT, tracer_provider=recording.provider)
        bus.subscribe(worker)
        complete(enqueue(), id=1)
        fail(enqueue(), id=2)
        complete(enqueue(), id=3)
        bus.absorb(SLOT, bus.take())
        bus.unsubscribe(worker)
        bus.emit(OutcomesSettled, QUEUE, 2, 0.1, (), (1, 2))

        settle = recording.span("settle")
        runs = {attributes(run)["messaging.message.id"]: span_id(run) for run in recording.spans("process")}
        assert_as_declared(settle, spans.SETTLE)
        assert settle.parent is None
        assert linked(settle) == [runs["1"], runs["2"]]
        assert attributes(settle)["messaging.operation.name"] == "settle"

    def test_settle_of_runs_that_are_not_known_links_to_their_enqueuers(self, recording: Recording, settings):
        settings.PARTISAN_OBSERVABILITY = {"TRACE_SETTLES": True}
        bus.refresh()
        bus.emit(OutcomesSettled, QUEUE, 1, 0.1, (json.dumps(enqueue()),), (1,))

        assert linked(recording.span("settle")) == [span_id(recording.span("send"))]

    def test_manager_of_this_process_is_named_where_none_is_given(self, recording: Recording):
        subscriber = TracingSubscriber(tracer_provider=recording.provider, slot=5)
        subscriber.handle(TasksClaimed(QUEUE, 1, (1,), 0.1, ()))

        expected = f"{socket.gethostname()}:{os.getpid()}:5"
        assert attributes(recording.span("claim"))["messaging.client.id"] == expected


def test_spans_are_named_by_processor_if_asked_and_if_there_is_one(recording: Recording, settings):
    settings.PARTISAN_OBSERVABILITY = {"SPAN_NAMING": "processor"}

    complete(enqueue())
    claimed(None)
    with bus.around(Enqueueing(QUEUE, PROCESSOR, 2)):
        pass

    batch = recording.spans("send")[1]
    assert_as_declared(batch, spans.BATCH_SEND)
    assert batch.name == recording.spans("send")[0].name == f"send {PROCESSOR}"
    assert recording.span("process").name == f"process {PROCESSOR}"
    assert recording.span("claim").name == f"claim {QUEUE}"
