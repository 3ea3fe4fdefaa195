"""Telemetry that cannot be delivered costs no task, is counted, and is reported once."""

import os
import random
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest

from django_partisan.models import Task
from tests.processes.observability.lines import checked
from tests.processes.observability.scraping import Scrape, address_of, get, scrape_until, wait_for_scrape
from tests.processes.observability.watching import Watching, enqueue, wait_until_done
from tests.support.commands import MANAGE
from tests.support.rows import count_by_status
from tests.support.waiting import wait_until
from tools.otlp_sink import OtlpSink

TASKS = 50
HOSTILE: list[Any] = [
    {"traceparent": "00-zz-zz-01", "ctx.request_id": "x"},
    {"traceparent": 7, "ctx.request_id": [1], "ctx.user_id": {"a": None}},
    {"tracestate": "a" * 10_000, "traceparent": "00-" + "0" * 32 + "-" + "0" * 16 + "-01"},
    {"": "", "ctx.": "", "ctx.user_id": "\u00fc\U0001f600", "baggage": "=;,"},
    ["traceparent"],
    "traceparent",
    17,
]
CLASSES = 1_000


def lost_lines(port: int) -> float:
    """Return how many dropped log lines a manager has counted."""
    exported = Scrape(get(f"http://127.0.0.1:{port}").body)
    return exported.sum("partisan_telemetry_errors_total", signal="logs")


def settled(watching: Watching) -> Scrape:
    """Return a scrape from the moment when all outcomes are written and idle workers have reported."""
    wait_until_done(60)
    [manager] = watching.bench.managers
    return scrape_until(manager, "partisan_task_attempts_count", sum(count_by_status().values()))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_costs_log_lines_only(watching: Watching):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # chosen here, because the log that would name it cannot be written
    manager = watching.start("--metrics-port", str(port), "--log-file", "/dev/full", WORKERS_COUNT=2)
    enqueue("Leaf", times=TASKS)
    wait_until_done()
    wait_for_scrape(lambda: lost_lines(port) >= TASKS, what="every lost line is counted")
    assert manager.stop() == 0

    assert count_by_status() == {"finished": TASKS}
    told = [
        line
        for line in manager.err().splitlines()
        if line.startswith("A log line could not be written to /dev/full")
    ]
    assert 1 <= len(told) <= 3  # once per process


def test_a_closed_standard_output_costs_log_lines_only(watching: Watching):
    reading, writing = os.pipe()
    os.close(reading)
    settings = watching.settings()
    command = [*MANAGE, "start_partisan", "--until-empty", "--log-format", "ecs"]
    enqueue("Leaf", times=TASKS)
    environment = watching.bench.environment(None, settings)
    done = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, env=environment, text=True, timeout=60
    )
    os.close(writing)

    assert done.returncode == 0, done.stderr
    assert count_by_status() == {"finished": TASKS}
    told = [
        line
        for line in done.stderr.splitlines()
        if line.startswith("A log line could not be written to standard output")
    ]
    assert 1 <= len(told) <= 1 + os.cpu_count()  # type: ignore[operator]  # once in each process


def test_garbage_on_the_port_costs_neither_tasks_nor_scrapes(watching: Watching):
    manager = watching.ready()
    address = address_of(manager)
    host, _, port = address.removeprefix("http://").rpartition(":")
    chance = random.Random(5)
    enqueue("Pass", times=TASKS, seconds=0.01)
    shapes = (
        b"",
        b"\0" * 100,
        b"GET",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 5000,
        b"\x16\x03\x01" + bytes(range(256)),
    )
    opened = []
    for index in range(200):
        connected = socket.create_connection((host, int(port)))
        connected.sendall(shapes[index % 5] or chance.randbytes(chance.randrange(1, 5000)))
        opened.append(connected)
    seen = settled(watching)
    for connected in opened:
        connected.close()
    answer = get(address)
    manager.stop()

    assert (answer.status, count_by_status()) == (200, {"finished": TASKS})
    assert seen.sum("partisan_tasks_completed_total") == TASKS
    assert manager.err().count("\n") == 1
    checked(manager.out())


def test_a_thousand_classes_of_errors_are_folded_and_counted(watching: Watching):
    manager = watching.ready(WORKERS_COUNT=2)
    for number in range(CLASSES):
        enqueue("RaiseClass", number)
    seen = settled(watching)

    by_class = seen.by("error_type", "partisan_task_errors_total", processor="RaiseClass")
    assert len(by_class) == 21
    assert by_class["_other"] == CLASSES - 20
    assert seen.by("label", "partisan_telemetry_label_overflow_total") == {"error_type": CLASSES - 20}
    assert seen.sum("partisan_tasks_failed_total", processor="RaiseClass") == CLASSES
    assert count_by_status() == {"error": CLASSES}
    manager.stop()
    failed = [line for line in checked(manager.out()) if line["event.action"] == "task.failed"]
    assert len({line["error.type"] for line in failed}) == CLASSES


def test_odd_keys_of_context_cost_nothing(watching: Watching):
    manager = watching.ready()
    enqueue("BindOddly", times=5)
    seen = settled(watching)
    wait_until(lambda: count_by_status() == {"finished": 10})
    manager.stop()

    lines = checked(manager.out())
    mine = [line for line in lines if line["message"] == "odd keys"]
    assert len(mine) == 5
    assert {line["labels.name"] for line in mine} == {"mine"}
    completed = [
        line for line in lines if line.get("partisan.processor") == "BindOddly" and "event.outcome" in line
    ]
    assert [line["event.outcome"] for line in completed] == ["success"] * 5
    assert seen.sum("partisan_tasks_completed_total", processor="BindOddly") == 5


def test_hostile_context_in_the_row_costs_nothing(watching: Watching):
    for context in HOSTILE:
        [task] = enqueue("Leaf")
        Task.objects.filter(pk=task).update(context=context)
    manager = watching.ready(variables={"OTEL_TRACES_EXPORTER": "console"})
    wait_until_done()
    manager.stop()

    assert count_by_status() == {"finished": len(HOSTILE)}
    assert len([line for line in checked(manager.out()) if line["event.action"] == "task.completed"]) == len(
        HOSTILE
    )
    assert "raised" not in manager.err()


@pytest.mark.parametrize(
    ("logs_arguments", "arguments", "hidden"),
    [
        (True, {"password": "hunter2", "nested": {"api_key": "hunter2", "name": "shown"}}, "hunter2"),
        (False, {"name": "shown"}, "shown"),
    ],
    ids=["secrets are nowhere", "arguments are nowhere unless asked for"],
)
def test_what_is_secret_is_not_in_logs_spans_or_metrics(
    watching: Watching, sink: OtlpSink, logs_arguments: bool, arguments: dict[str, Any], hidden: str
):
    manager = watching.ready(
        level="DEBUG",
        observability={"LOG_TASK_ARGS": logs_arguments},
        variables={"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url},
    )
    enqueue("KeepSecret", 17, **arguments)
    seen = settled(watching)
    manager.stop()

    [failed] = [line for line in checked(manager.out()) if line["event.action"] == "task.failed"]
    assert ("shown" in failed.get("partisan.task.arguments", "")) == logs_arguments
    everything = manager.out() + manager.err() + seen.text + "".join(map(repr, sink.spans))
    assert "KeepSecret" in repr(sink.spans)
    assert hidden not in everything


def test_spans_that_a_collector_refuses_are_counted_and_told_once(watching: Watching, sink: OtlpSink):
    sink.mode = "refuse"
    manager = watching.ready(variables={"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}, TASKS_PER_WORKER_INSTANCE=5)
    enqueue("Leaf", times=TASKS)
    wait_until_done()
    seen = scrape_until(manager, "partisan_telemetry_dropped_total", 1, reason="span_export_failed")
    scrape_until(manager, "partisan_tasks_completed_total", TASKS)
    manager.stop()

    assert count_by_status() == {"finished": TASKS}
    told = [line for line in checked(manager.out()) if line["event.action"] == "telemetry.dropped"]
    first, rest = told  # one report a minute, and the remainder at the end
    assert first["event.reason"] == rest["event.reason"] == "span_export_failed"
    assert seen.sum("partisan_telemetry_dropped_total") == first["partisan.telemetry.count"]
    assert first["partisan.telemetry.count"] + rest["partisan.telemetry.count"] >= TASKS
    said = [line for line in manager.err().splitlines() if "export" in line]
    assert said == ["OpenTelemetry: Failed to export spans batch code: 400, reason: Bad Request"]


def test_spans_that_no_collector_takes_in_time_are_counted(watching: Watching, sink: OtlpSink):
    sink.mode = "hang"
    manager = watching.ready(
        variables={"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url},
        observability={"TELEMETRY_SHUTDOWN_TIMEOUT": 0.3},
        WORKERS_COUNT=1,  # with two, a third worker could take a task that the fourth needs to be recycled
        TASKS_PER_WORKER_INSTANCE=5,
    )
    enqueue("Leaf", times=20)
    wait_until_done()
    scrape_until(manager, "partisan_telemetry_dropped_total", 4, reason="flush_timeout")
    manager.stop()

    told = [line for line in checked(manager.out()) if line["event.action"] == "telemetry.dropped"]
    lost = [line["partisan.telemetry.count"] for line in told if line["event.reason"] == "span_not_flushed"]
    assert sum(lost) >= 20
    assert count_by_status() == {"finished": 20}
