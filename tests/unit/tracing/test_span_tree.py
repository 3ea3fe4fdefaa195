"""Which spans a task's life makes, and how they hang together."""

import json
import os
import socket

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    Enqueueing,
    OutcomesSettled,
    Running,
    TaskCompleted,
    TaskFailed,
    TasksClaimed,
)
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
    trace_id,
)


class TestEnqueueing:
    def test_send_span_is_a_child_of_the_current_span(self, recording: Recording):
        with recording.tracer.start_as_current_span("request") as request:
            enqueue()

        send = recording.span("send")
        assert_as_declared(send, spans.SEND)
        assert send.name == f"send {QUEUE}"
        assert send.kind is SpanKind.PRODUCER
        assert parent_id(send) == request.get_span_context().span_id

    def test_row_carries_the_send_spans_own_context(self, recording: Recording):
        headers = enqueue()

        version, trace_text, span_text, flags = headers["traceparent"].split("-")
        send = recording.span("send")
        assert version == "00"
        assert int(trace_text, 16) == trace_id(send)
        assert int(span_text, 16) == span_id(send)
        assert int(flags, 16) & 1 == 1

    def test_send_span_says_which_row_it_made(self, recording: Recording):
        enqueue()

        found = attributes(recording.span("send"))
        assert found["messaging.message.id"] == str(TASK_ID)
        assert found["partisan.task.deduplicated"] is False
        assert found["messaging.operation.name"] == found["messaging.operation.type"] == "send"
        assert found["partisan.processor"] == PROCESSOR

    def test_twin_is_marked_on_the_send_span(self, recording: Recording):
        enqueue(task_id=99, deduplicated=True)

        found = attributes(recording.span("send"))
        assert found["messaging.message.id"] == "99"
        assert found["partisan.task.deduplicated"] is True

    def test_failed_enqueue_is_an_error_with_one_exception(self, recording: Recording):
        with pytest.raises(ValueError, match="no column"):
            refuse_to_enqueue(ValueError("no column"))

        send = recording.span("send")
        assert_as_declared(send, spans.SEND)
        assert send.status.status_code is StatusCode.ERROR
        assert send.status.description == "no column"
        assert attributes(send)["error.type"] == "ValueError"
        assert event(send, "exception")["exception.type"] == "ValueError"
        assert "messaging.message.id" not in attributes(send)

    def test_enqueueing_that_names_no_row_has_no_message_id(self, recording: Recording):
        with bus.around(Enqueueing(QUEUE, PROCESSOR)):
            pass

        assert "messaging.message.id" not in attributes(recording.span("send"))

    def test_current_span_is_restored_after_an_enqueueing(self, recording: Recording):
        with recording.tracer.start_as_current_span("request") as request:
            enqueue()

            assert trace.get_current_span() is request

    def test_context_that_came_in_from_elsewhere_goes_into_the_row_without_an_sdk(self):
        incoming = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))

        with trace.use_span(trace.NonRecordingSpan(incoming)):
            headers = TracingSubscriber().headers()

        assert headers == {"traceparent": f"00-{1:032x}-{2:016x}-01"}


class TestBulk:
    def test_each_task_has_a_create_span_that_its_row_carries(self, recording: Recording):
        carried = bulk_enqueue([1, 2], ["Resize", "Crop"])

        creates = recording.spans("create")
        for create in creates:
            assert_as_declared(create, spans.CREATE)
        assert [attributes(create)["messaging.message.id"] for create in creates] == ["1", "2"]
        assert [attributes(create)["partisan.processor"] for create in creates] == ["Resize", "Crop"]
        assert [headers["traceparent"].split("-")[2] for headers in carried] == [
            f"{span_id(create):016x}" for create in creates
        ]

    def test_batch_send_is_their_parent_and_links_to_each(self, recording: Recording):
        bulk_enqueue([1, 2, 3], ["Resize"] * 3)

        batch, creates = recording.span("send"), recording.spans("create")
        assert_as_declared(batch, spans.BATCH_SEND)
        assert batch.kind is SpanKind.CLIENT
        assert attributes(batch)["messaging.batch.message_count"] == 3
        assert linked(batch) == [span_id(create) for create in creates]
        assert {parent_id(create) for create in creates} == {span_id(batch)}

    def test_failed_bulk_is_an_error_of_the_batch_and_ends_every_create(self, recording: Recording):
        with pytest.raises(RuntimeError):
            refuse_to_enqueue(RuntimeError("refused"), count=2)

        batch = recording.span("send")
        assert_as_declared(batch, spans.BATCH_SEND)
        assert batch.status.status_code is StatusCode.ERROR
        assert attributes(batch)["error.type"] == "RuntimeError"
        assert len(recording.spans("create")) == 2
        assert all("messaging.message.id" not in attributes(create) for create in recording.spans("create"))

    def test_bulk_of_one_is_a_send(self, recording: Recording):
        [headers] = bulk_enqueue([5], ["Resize"])

        send = recording.span("send")
        assert send.kind is SpanKind.PRODUCER
        assert attributes(send)["messaging.message.id"] == "5"
        assert headers["traceparent"].split("-")[2] == f"{span_id(send):016x}"
        assert recording.spans("create") == []

    @pytest.mark.parametrize("propagation", ["link", "child", "none"])
    def test_run_of_a_bulk_task_relates_to_its_create_span(self, recording: Recording, propagation: str):
        [first, _] = bulk_enqueue([1, 2], ["Resize"] * 2)
        complete(first, propagation)

        create, process = recording.spans("create")[0], recording.span("process")
        assert linked(process) == ([span_id(create)] if propagation == "link" else [])
        assert parent_id(process) == (span_id(create) if propagation == "child" else None)


class TestPropagation:
    def test_run_links_to_the_enqueuer_by_default(self, recording: Recording):
        complete(enqueue())

        send, process = recording.span("send"), recording.span("process")
        assert process.parent is None
        assert trace_id(process) != trace_id(send)
        assert linked(process) == [span_id(send)]

    def test_run_is_a_child_of_the_enqueuer_if_the_processor_says_so(self, recording: Recording):
        complete(enqueue(), "child")

        send, process = recording.span("send"), recording.span("process")
        assert parent_id(process) == span_id(send)
        assert trace_id(process) == trace_id(send)
        assert linked(process) == []

    def test_run_has_no_relation_if_the_processor_says_so(self, recording: Recording):
        complete(enqueue(), "none")

        send, process = recording.span("send"), recording.span("process")
        assert process.parent is None
        assert trace_id(process) != trace_id(send)
        assert linked(process) == []

    @pytest.mark.parametrize(("setting", "is_child", "links"), [("child", True, 0), ("none", False, 0)])
    def test_setting_decides_where_the_processor_says_nothing(
        self, recording: Recording, settings, setting: str, is_child: bool, links: int
    ):
        settings.PARTISAN_OBSERVABILITY = {"TRACE_PROPAGATION": setting}

        complete(enqueue())

        process = recording.span("process")
        assert (parent_id(process) == span_id(recording.span("send"))) is is_child
        assert len(linked(process)) == links

    def test_processor_wins_over_the_setting(self, recording: Recording, settings):
        settings.PARTISAN_OBSERVABILITY = {"TRACE_PROPAGATION": "child"}

        complete(enqueue(), "link")

        assert linked(recording.span("process")) == [span_id(recording.span("send"))]

    @pytest.mark.parametrize("propagation", ["link", "child", "none"])
    def test_later_run_links_to_the_enqueuer_and_the_run_before_in_every_mode(
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

    def test_run_does_not_see_the_span_that_is_current_where_it_starts(self, recording: Recording):
        with recording.tracer.start_as_current_span("of the worker's own"):
            complete()

        assert recording.span("process").parent is None

    @pytest.mark.parametrize("headers", [None, {}, {"request_id": "r"}])
    def test_task_without_trace_context_still_has_its_span(self, recording: Recording, headers):
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
        assert headers["traceparent"].split("-")[2] == f"{span_id(inner):016x}"
        assert put_back["partisan.previous_span"].split("-")[2] == f"{span_id(process):016x}"


class TestOutcomes:
    def test_completed_run(self, recording: Recording):
        complete(enqueue(), wait_seconds=2, retries=1, postpones=4, attempt=6, priority=0)

        process = recording.span("process")
        found = attributes(process)
        assert_as_declared(process, spans.PROCESS)
        assert process.name == f"process {QUEUE}"
        assert process.status.status_code is StatusCode.UNSET
        assert found["partisan.task.outcome"] == "completed"
        assert found["messaging.message.id"] == str(TASK_ID)
        assert found["messaging.client.id"] == f"{socket.gethostname()}:{MANAGER_PID}:{SLOT}"
        assert found["partisan.task.wait_seconds"] == 2.0
        assert [
            found[f"partisan.task.{name}"] for name in ("attempt", "retries", "postpones", "priority")
        ] == [
            6,
            1,
            4,
            0,
        ]
        assert [told.name for told in process.events] == ["task.completed"]
        assert event(process, "task.completed") == {
            "event.outcome": "success",
            "event.duration": 1_500_000_000,
            "partisan.worker.slot": SLOT,
            "partisan.worker.generation": 2,
        }

    def test_postponed_run(self, recording: Recording):
        postpone(enqueue())

        process = recording.span("process")
        found = event(process, "task.postponed")
        assert_as_declared(process, spans.PROCESS)
        assert process.status.status_code is StatusCode.UNSET
        assert attributes(process)["partisan.task.outcome"] == "postponed"
        assert attributes(process)["partisan.task.delay_seconds"] == 60.0
        assert found["event.outcome"] == "unknown"
        assert found["event.reason"] == "later"
        assert len(process.events) == 1

    def test_postponed_run_without_a_reason(self, recording: Recording):
        postpone(reason=None)

        assert "event.reason" not in event(recording.span("process"), "task.postponed")

    def test_retried_run_is_an_error_with_one_exception(self, recording: Recording):
        retry(enqueue())

        process = recording.span("process")
        found = event(process, "task.retried")
        assert_as_declared(process, spans.PROCESS)
        assert process.status.status_code is StatusCode.ERROR
        assert process.status.description == ERROR.message
        assert attributes(process)["partisan.task.outcome"] == "retried"
        assert attributes(process)["partisan.task.delay_seconds"] == 30.0
        assert attributes(process)["error.type"] == ERROR.type
        assert found["event.outcome"] == "failure"
        assert found["partisan.task.retries_left"] == 2
        assert event(process, "exception") == {
            "exception.type": ERROR.type,
            "exception.message": ERROR.message,
            "exception.stacktrace": ERROR.stack_trace,
        }
        assert len(process.events) == 2

    def test_failed_run_is_an_error_with_one_exception(self, recording: Recording):
        fail(enqueue())

        process = recording.span("process")
        assert_as_declared(process, spans.PROCESS)
        assert process.status.status_code is StatusCode.ERROR
        assert attributes(process)["partisan.task.outcome"] == "failed"
        assert attributes(process)["error.type"] == ERROR.type
        assert "partisan.task.delay_seconds" not in attributes(process)
        assert event(process, "task.failed")["event.reason"] == "error"
        assert event(process, "exception")["exception.type"] == ERROR.type
        assert len(process.events) == 2

    def test_error_that_leaves_a_run_before_its_outcome_is_recorded(self, recording: Recording):
        with pytest.raises(KeyboardInterrupt):
            interrupted()

        process = recording.span("process")
        assert process.status.status_code is StatusCode.ERROR
        assert attributes(process)["error.type"] == "KeyboardInterrupt"

    def test_error_that_leaves_a_run_after_its_outcome_is_not_recorded_again(self, recording: Recording):
        with pytest.raises(KeyboardInterrupt):
            interrupted(TaskCompleted, 0.1)

        assert recording.span("process").status.status_code is StatusCode.UNSET

    def test_managers_fact_about_another_run_is_no_outcome_of_this_one(self, recording: Recording):
        with bus.around(Running(run_of(), None)):
            bus.emit(TaskFailed, run_of(id=TASK_ID + 1), None, "worker_lost", ERROR)

        assert recording.span("process").events == ()

    @pytest.mark.parametrize(
        ("kind", "values"),
        [(TaskCompleted, (1.0,)), (TaskFailed, (None, "worker_lost", ERROR))],
    )
    def test_outcome_told_outside_a_run_makes_no_span(self, recording: Recording, kind, values):
        bus.emit(kind, run_of(), *values)

        assert recording.spans("process") == []

    def test_failure_without_a_duration_has_none(self, recording: Recording):
        run = run_of()
        with bus.around(Running(run, None)):
            bus.emit(TaskFailed, run, None, "unregistered", ERROR)

        assert "event.duration" not in event(recording.span("process"), "task.failed")

    def test_process_span_is_current_while_the_task_runs_and_its_id_is_known(self, recording: Recording):
        with bus.around(Running(run_of(), None)):
            current, known = trace.get_current_span(), process_span_id.get()

        process = recording.span("process")
        assert current.get_span_context().span_id == span_id(process)
        assert known == f"{span_id(process):016x}"
        assert process_span_id.get() is None
        assert not trace.get_current_span().get_span_context().is_valid

    def test_users_own_span_is_a_child_of_the_runs(self, recording: Recording):
        with bus.around(Running(run_of(), None)), recording.tracer.start_as_current_span("resize"):
            pass

        assert parent_id(recording.span("resize")) == span_id(recording.span("process"))


class TestClaimsAndSettles:
    def test_claim_span_is_a_root_with_a_link_per_task(self, recording: Recording):
        first, second = enqueue(1), enqueue(2)
        with recording.tracer.start_as_current_span("loop"):
            claimed(first, {}, second)

        claim = recording.span("claim")
        assert_as_declared(claim, spans.CLAIM)
        assert claim.name == f"claim {QUEUE}"
        assert claim.parent is None
        assert claim.kind is SpanKind.INTERNAL
        assert linked(claim) == [span_id(send) for send in recording.spans("send")]
        assert attributes(claim)["messaging.batch.message_count"] == 3
        assert attributes(claim)["messaging.client.id"] == f"{socket.gethostname()}:{MANAGER_PID}"

    def test_claim_span_begins_when_the_claim_began(self, recording: Recording):
        claimed(None)

        claim = recording.span("claim")
        assert claim.start_time is not None
        assert claim.end_time == claim.start_time + 500_000_000

    def test_claim_has_at_most_128_links(self, recording: Recording):
        headers = enqueue()
        claimed(*[headers] * 200)

        assert len(recording.span("claim").links) == 128

    def test_empty_claim_has_no_span(self, recording: Recording):
        claimed()

        assert recording.spans("claim") == []

    def test_claims_are_not_traced_if_switched_off(self, recording: Recording, settings):
        settings.PARTISAN_OBSERVABILITY = {"TRACE_CLAIMS": False}
        bus.refresh()

        claimed(None)

        assert recording.spans("claim") == []

    def test_settles_are_not_traced_by_default(self, recording: Recording):
        bus.emit(OutcomesSettled, QUEUE, 1, 0.1, (), (1,))

        assert recording.spans("settle") == []

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
        assert settle.kind is SpanKind.CLIENT
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


class TestNaming:
    def test_spans_are_named_by_processor_if_asked(self, recording: Recording, settings):
        settings.PARTISAN_OBSERVABILITY = {"SPAN_NAMING": "processor"}

        complete(enqueue())
        claimed(None)

        assert recording.span("send").name == f"send {PROCESSOR}"
        assert recording.span("process").name == f"process {PROCESSOR}"
        assert recording.span("claim").name == f"claim {QUEUE}"
