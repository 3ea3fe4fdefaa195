"""The line of a completed run has the run's values, whatever they are."""

import logging
import math

import pytest

from django_partisan.logs.subscriber import LOGGER
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import TaskCompleted
from django_partisan.telemetry.events.values import Run

from .conftest import Lines
from .samples import BARE_RUN, RUN, TRACE_ID, TRACEPARENT

RUNS: dict[str, Run] = {
    "bare": BARE_RUN,
    "traced": BARE_RUN._replace(headers={"traceparent": TRACEPARENT}),
    "malformed context": BARE_RUN._replace(headers={"traceparent": "x", "ctx.request_id": "1"}),
    "odd names": BARE_RUN._replace(processor='Über"setz\\ung\n😀', queue="mail\x01"),
    "numbers": BARE_RUN._replace(id=2**63 - 1, priority=-7, attempt=99, retries=3, postpones=8),
    "clock that went back": BARE_RUN._replace(wait_seconds=-1.0),
    "arguments": RUN,
}


@pytest.fixture(autouse=True)
def events_at_info(lines: Lines) -> None:
    logging.getLogger(LOGGER).setLevel(logging.INFO)
    bus.refresh()


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_the_line_has_the_values_of_the_run(lines: Lines, run: Run):
    bus.emit(TaskCompleted, run, 0.5)

    [line] = lines()
    assert line["event.action"] == "task.completed"
    assert line["message"] == f"Task {run.id} ({run.processor}) completed in 0.500 s"
    assert (line["partisan.task.id"], line["partisan.processor"]) == (str(run.id), run.processor)
    assert (line["partisan.queue.name"], line["partisan.task.priority"]) == (run.queue, run.priority)
    assert (line["partisan.task.attempt"], line["partisan.worker.slot"]) == (run.attempt, run.slot)
    assert line["partisan.task.wait_ns"] == max(0, int(run.wait_seconds * 1_000_000_000))
    is_traced = (run.headers or {}).get("traceparent") == TRACEPARENT
    assert line.get("partisan.task.enqueued_trace_id") == (TRACE_ID if is_traced else None)


@pytest.mark.parametrize("seconds", [0.0, 1e-9, 0.0004999, 12.3456789, 1e6, -0.5])
def test_its_duration_is_in_nanoseconds(lines: Lines, seconds: float):
    bus.emit(TaskCompleted, BARE_RUN, seconds)

    [line] = lines()
    assert math.isclose(line["event.duration"], max(0.0, seconds) * 1e9, abs_tol=1)


def test_a_name_that_is_too_long_is_shortened(lines: Lines, log_file):
    bus.emit(TaskCompleted, BARE_RUN._replace(processor="P" * 5_000), 0.5)

    assert len(lines()) == 1
    assert len(log_file.read_bytes()) <= 4_000


def test_nothing_is_written_below_a_level_that_was_just_set(lines: Lines):
    logging.getLogger(LOGGER).setLevel(logging.WARNING)

    bus.emit(TaskCompleted, BARE_RUN, 0.5)  # without a refresh

    assert lines() == []
