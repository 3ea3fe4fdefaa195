"""Spans of runs that no worker could end, made by the manager."""

import socket
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from django_partisan import outcomes, registry
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import TaskCancelled, TaskFailed, TaskRetried
from django_partisan.telemetry.events.tasks import TaskRescued
from django_partisan.telemetry.events.values import LostRun, TaskRef
from django_partisan.tracing import spans
from tests.support.registry import Idle

from .conftest import MANAGER_PID, Recording
from .driving import (
    ERROR,
    GENERATION,
    PROCESSOR,
    QUEUE,
    SLOT,
    TASK_ID,
    assert_as_declared,
    attributes,
    enqueue,
    event,
    linked,
    parent_id,
    retry,
    span_id,
    trace_id,
)

CLIENT = f"{socket.gethostname()}:{MANAGER_PID}"
OF_OWN_WORKER = LostRun(1_764_500_000.0, 1_764_500_002.5, SLOT, GENERATION, 0.25)
OF_ANOTHERS = LostRun(1_764_500_000.0, 1_764_500_040.0)
WORKER_LOST = "django_partisan.exceptions.WorkerLost"


def task_of(headers: Any = None, attempt: int = 1) -> TaskRef:
    return TaskRef(TASK_ID, PROCESSOR, QUEUE, 10, attempt, 0, 0, headers)


def lose(headers: Any = None, lost: LostRun | None = OF_OWN_WORKER, attempt: int = 1) -> None:
    bus.emit(TaskFailed, task_of(headers, attempt), None, outcomes.REASON_WORKER_LOST, ERROR, lost)


def nanoseconds(span: ReadableSpan) -> tuple[int | None, int | None]:
    return span.start_time, span.end_time


def test_a_failed_run_has_the_span_that_its_worker_would_have_made(recording: Recording):
    headers = enqueue()

    lose(headers)

    process, found = recording.span("process"), attributes(recording.span("process"))
    assert_as_declared(process, spans.PROCESS)
    assert process.name == f"process {QUEUE}"
    assert linked(process) == [span_id(recording.span("send"))]
    assert nanoseconds(process) == (1_764_500_000_000_000_000, 1_764_500_002_500_000_000)
    assert found["messaging.message.id"] == str(TASK_ID)
    assert found["messaging.client.id"] == f"{CLIENT}:{SLOT}"
    assert found["partisan.task.outcome"] == "failed"
    assert found["partisan.task.wait_seconds"] == 0.25
    assert found["error.type"] == ERROR.type
    assert (process.status.status_code, process.status.description) == (StatusCode.ERROR, ERROR.message)
    assert event(process, "exception")["exception.type"] == ERROR.type
    assert event(process, "task.failed") == {
        "event.outcome": "failure",
        "event.reason": "worker_lost",
        "event.duration": 2_500_000_000,
        "partisan.worker.slot": SLOT,
        "partisan.worker.generation": GENERATION,
    }


def test_a_run_of_another_managers_worker_names_no_slot_and_no_wait(recording: Recording):
    lose(lost=OF_ANOTHERS)

    process = recording.span("process")
    assert_as_declared(process, spans.PROCESS)
    assert attributes(process)["messaging.client.id"] == CLIENT
    assert "partisan.task.wait_seconds" not in attributes(process)
    assert event(process, "task.failed") == {
        "event.outcome": "failure",
        "event.reason": "worker_lost",
        "event.duration": 40_000_000_000,
    }


@pytest.mark.parametrize("reason", [outcomes.REASON_UNREGISTERED, outcomes.REASON_UNSETTLEABLE])
def test_a_task_that_the_manager_fails_without_a_run_has_a_span_of_no_duration(
    recording: Recording, reason: str
):
    bus.emit(TaskFailed, task_of(enqueue()), None, reason, ERROR)

    process = recording.span("process")
    assert_as_declared(process, spans.PROCESS)
    assert process.start_time == process.end_time
    assert linked(process) == [span_id(recording.span("send"))]
    assert event(process, "task.failed") == {"event.outcome": "failure", "event.reason": reason}


def test_a_run_that_the_manager_cancels_is_no_error(recording: Recording):
    bus.emit(TaskCancelled, task_of(enqueue()), None, ERROR, OF_OWN_WORKER)

    process = recording.span("process")
    assert_as_declared(process, spans.PROCESS)
    assert process.status.status_code is StatusCode.UNSET
    assert attributes(process)["partisan.task.outcome"] == "cancelled"
    assert "error.type" not in attributes(process)
    assert event(process, "task.cancelled")["event.outcome"] == "unknown"
    assert event(process, "task.cancelled")["event.reason"] == ERROR.message


def test_a_run_that_the_manager_retries_has_the_pause_and_the_retries_left(recording: Recording):
    bus.emit(TaskRetried, task_of(enqueue()), 1.5, 5.0, 2, ERROR, OF_OWN_WORKER)

    process = recording.span("process")
    assert attributes(process)["partisan.task.outcome"] == "retried"
    assert attributes(process)[spans.DELAY_SECONDS] == 5.0
    assert event(process, "task.retried")[spans.RETRIES_LEFT] == 2


@pytest.mark.parametrize("reason", ["worker_lost", "manager_lost"])
def test_a_rescued_run_is_an_error_without_an_outcome(recording: Recording, reason: str):
    bus.emit(TaskRescued, task_of(enqueue()), reason, None, OF_OWN_WORKER)

    process = recording.span("process")
    assert_as_declared(process, spans.PROCESS)
    assert process.status.status_code is StatusCode.ERROR
    assert attributes(process)["error.type"] == WORKER_LOST
    assert "partisan.task.outcome" not in attributes(process)
    assert event(process, "task.rescued")["event.reason"] == reason


def test_a_run_that_a_forced_stop_ends_is_no_error(recording: Recording):
    bus.emit(TaskRescued, task_of(enqueue()), outcomes.REASON_STOPPED, None, OF_OWN_WORKER)

    process = recording.span("process")
    assert_as_declared(process, spans.PROCESS)
    assert process.status.status_code is StatusCode.UNSET
    assert "error.type" not in attributes(process)
    assert [found.name for found in process.events] == ["task.rescued"]
    rescued = event(process, "task.rescued")
    assert rescued["event.reason"] == "stopped"
    assert "event.outcome" not in rescued


def test_a_rescued_task_that_had_not_begun_has_no_span(recording: Recording):
    bus.emit(TaskRescued, task_of(), outcomes.REASON_MANAGER_LOST, "another")

    assert recording.spans("process") == []


@pytest.mark.parametrize(
    ("of_processor", "setting", "expected"),
    [(None, "link", "link"), (None, "child", "child"), (None, "none", "none"), ("child", "link", "child")],
)
def test_it_relates_to_the_enqueuer_as_the_processor_or_else_the_setting_says(
    recording: Recording, settings, own_registry, of_processor, setting: str, expected: str
):
    settings.PARTISAN_OBSERVABILITY = {"TRACE_PROPAGATION": setting}
    registry.register(type(PROCESSOR, (Idle,), {"TRACE_PROPAGATION": of_processor}))

    lose(enqueue())

    send, process = recording.span("send"), recording.span("process")
    assert linked(process) == ([span_id(send)] if expected != "none" else [])
    assert parent_id(process) == (span_id(send) if expected == "child" else None)
    assert (trace_id(process) == trace_id(send)) is (expected == "child")


def test_a_later_run_also_links_to_the_previous_one(recording: Recording):
    lose(retry(enqueue()), attempt=2)

    send = recording.span("send")
    first, second = sorted(
        recording.spans("process"), key=lambda span: attributes(span)["partisan.task.attempt"]
    )
    assert linked(second) == [span_id(send), span_id(first)]
