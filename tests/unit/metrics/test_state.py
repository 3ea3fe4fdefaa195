"""Gauges from a snapshot, and what workers use of the machine."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from django_partisan.metrics import state as gauges
from django_partisan.metrics.resources import Resources, SlotCounter
from django_partisan.telemetry import events

from .conftest import QUEUE, snapshot


def by_name(samples: Any) -> dict[Any, Any]:
    return {(metric.name.removeprefix("partisan_"), labels[1:]): value for metric, labels, value in samples}


def test_the_manager_s_gauges_are_those_of_the_snapshot(state: SimpleNamespace) -> None:
    assert by_name(gauges.of_manager(snapshot(state))) == {
        ("buffer_tasks", ()): 3,
        ("buffer_limit", ()): 10,
        ("unsettled_tasks", ()): 4,
        ("workers_configured", ()): 2,
        ("manager_draining", ()): 0,
        ("manager_last_loop_timestamp_seconds", ()): 1_000.0,
        ("manager_last_claim_timestamp_seconds", ()): 900.0,
        ("last_task_finished_timestamp_seconds", ()): 800.0,
    }


def test_a_moment_that_has_not_come_has_no_series(state: SimpleNamespace) -> None:
    state.last_claim_at = state.last_finished_at = None
    names = {name for name, _ in by_name(gauges.of_manager(snapshot(state)))}

    assert not names & {"manager_last_claim_timestamp_seconds", "last_task_finished_timestamp_seconds"}


def test_runs_are_counted_by_processor_with_the_age_of_the_oldest(
    state: SimpleNamespace, task: events.TaskRef
) -> None:
    gone = task._replace(processor="Gone")
    state.workers = (
        events.WorkerSeen(0, 1, 0, "busy", task, 2.0, 0.0),
        events.WorkerSeen(1, 1, 0, "busy", task, 5.0, 0.0),
        events.WorkerSeen(2, 1, 0, "busy", gone, 1.0, 0.0),
        events.WorkerSeen(3, 1, 0, "idle", None, 0.0, 0.0),
    )

    assert by_name(gauges.of_runs(snapshot(state), ["Mail", "Report"])) == {
        ("tasks_in_progress", ("Mail",)): 2,
        ("oldest_run_age_seconds", ("Mail",)): 5.0,
        ("tasks_in_progress", ("Report",)): 0,
        ("oldest_run_age_seconds", ("Report",)): 0.0,
        ("tasks_in_progress", ("_other",)): 1,
        ("oldest_run_age_seconds", ("_other",)): 1.0,
    }


def test_workers_are_counted_in_every_state_and_named_by_slot(state: SimpleNamespace) -> None:
    state.workers = (
        events.WorkerSeen(0, 1, 0, "busy", None, 0.0, 7.0),
        events.WorkerSeen(1, 3, 0, "idle", None, 0.0, 1.0),
    )

    assert by_name(gauges.of_workers(snapshot(state), SlotCounter())) == {
        ("workers", ("starting",)): 0,
        ("workers", ("idle",)): 1,
        ("workers", ("busy",)): 1,
        ("worker_busy_seconds_total", ("0",)): 7.0,
        ("worker_busy_seconds_total", ("1",)): 1.0,
    }


def test_a_slot_s_counter_goes_on_where_its_last_worker_ended() -> None:
    counter = SlotCounter()
    totals = [
        counter.update({(0, 1): 5.0}),
        counter.update({(0, 1): 4.0}),  # never down
        counter.update({(0, 1): None}),
        counter.update({(0, 1): 6.0, (0, 2): 1.0}),  # one retires while its successor starts
        counter.update({(0, 2): 2.0}),
        counter.update({}),
    ]

    assert totals == [{0: 5.0}, {0: 5.0}, {0: 5.0}, {0: 7.0}, {0: 8.0}, {0: 8.0}]


def test_what_a_process_uses_is_read_by_its_id() -> None:
    usage = Resources().usage(os.getpid())

    assert usage is not None
    assert usage.cpu_seconds > 0
    assert usage.resident_bytes > 1_000_000


def test_a_process_name_may_hold_brackets_and_spaces(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    fields = ["S", *["0"] * 10, "100", "200", *["0"] * 8, "50", "0"]
    (tmp_path / "7" / "stat").write_text("7 (a) b (c)) " + " ".join(fields))
    usage = Resources(tmp_path).usage(7)

    assert usage is not None
    assert usage.cpu_seconds == 300 / os.sysconf("SC_CLK_TCK")
    assert usage.resident_bytes == 50 * os.sysconf("SC_PAGE_SIZE")


def test_a_worker_that_is_gone_keeps_its_time_and_has_no_memory(
    state: SimpleNamespace, tmp_path: Path
) -> None:
    stat = tmp_path / "7" / "stat"
    stat.parent.mkdir()
    stat.write_text("7 (x) S " + "0 " * 10 + "100 100 " + "0 " * 8 + "50 0")
    state.workers = (events.WorkerSeen(0, 1, 7, "busy", None, 0.0, 0.0),)
    resources = Resources(tmp_path)
    alive = by_name(gauges.of_resources(snapshot(state), resources))
    stat.unlink()
    gone = by_name(gauges.of_resources(snapshot(state), resources))

    seconds = 200 / os.sysconf("SC_CLK_TCK")
    memory = 50 * os.sysconf("SC_PAGE_SIZE")
    assert alive[("worker_cpu_seconds_total", ("0",))] == seconds
    assert alive[("worker_resident_memory_bytes", ("0",))] == memory
    assert gone == {("worker_cpu_seconds_total", ("0",)): seconds}


def test_the_queue_is_the_first_label(state: SimpleNamespace) -> None:
    samples = [*gauges.of_manager(snapshot(state)), *gauges.of_runs(snapshot(state), ["Mail"])]

    assert {labels[0] for _, labels, _ in samples} == {QUEUE}
