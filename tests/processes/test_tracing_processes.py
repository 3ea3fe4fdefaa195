"""Real managers and workers export to a real collector, and work without it."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_partisan.models import Task
from tests.processes.observability.watching import enqueue
from tests.support.commands import manage
from tools.otlp_sink import OtlpSink, ReceivedSpan

from .traced.apps import HOST_ENDPOINT

pytestmark = pytest.mark.usefixtures("bench")

BOUND_SECONDS = 3.0


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with OtlpSink() as made:
        yield made


def environment_of(**variables: str) -> dict[str, str]:
    """Return the environment variables of a process of the traced application on the test database."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {
        **inherited,
        "PGDATABASE": connection.settings_dict["NAME"],
        "DJANGO_SETTINGS_MODULE": "tests.processes.traced.settings",
        **variables,
    }


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a management command of the traced application."""
    return manage(*arguments, env=environment_of(**variables))


def serve(*options: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Serve until no task is waiting."""
    done = run("start_partisan", "--until-empty", *options, **variables)
    assert done.returncode == 0, done.stderr
    return done


def serve_until_nothing_waits(**variables: str) -> None:
    """Serve repeatedly while tasks are waiting: what one manager leaves, the next one runs."""
    for _ in range(5):
        if not Task.objects.waiting().exists():
            return
        serve(**variables)
    raise AssertionError("tasks still wait")


def actions_of(log: Path) -> list[str]:
    return [json.loads(line)["event"]["action"] for line in log.read_text().splitlines()]


def lines_of(log: Path, action: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in log.read_text().splitlines())
    return [line for line in lines if line["event"]["action"] == action]


def times_of(log: Path, action: str) -> list[float]:
    moments = (line["@timestamp"].replace("Z", "+00:00") for line in lines_of(log, action))
    return [datetime.fromisoformat(moment).timestamp() for moment in moments]


def processes_of(spans: list[ReceivedSpan], processor: str) -> list[ReceivedSpan]:
    found = [span for span in spans if span.name.startswith("process")]
    return [span for span in found if span.attributes["partisan.processor"] == processor]


def test_workers_that_are_recycled_after_every_task_lose_no_span(sink: OtlpSink):
    enqueue("Spread", 10)
    serve(OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, TRACED_TASKS_PER_WORKER="1")

    [spread], leaves = processes_of(sink.spans, "Spread"), processes_of(sink.spans, "Leaf")
    sends = {span.span_id: span for span in sink.spans if span.name == "send default"}
    assert len(leaves) == len(sends) == 10
    assert {send.parent_id for send in sends.values()} == {spread.span_id}
    assert {link.span_id for leaf in leaves for link in leaf.links} == set(sends)
    assert len({span.resource["process.pid"] for span in [spread, *leaves]}) == 11


def test_manager_and_workers_name_themselves(sink: OtlpSink):
    enqueue("Leaf", 1)
    serve(OTEL_EXPORTER_OTLP_ENDPOINT=sink.url, OTEL_SERVICE_NAME="shop")

    [leaf] = processes_of(sink.spans, "Leaf")
    [claim] = [span for span in sink.spans if span.name == "claim default"]
    manager_pid = claim.resource["process.pid"]
    assert (claim.resource["partisan.process.role"], leaf.resource["partisan.process.role"]) == (
        "manager",
        "worker",
    )
    assert leaf.resource["service.name"] == claim.resource["service.name"] == "shop"
    assert leaf.attributes["messaging.client.id"].split(":")[1] == str(manager_pid)
    assert leaf.attributes["server.port"] == int(os.environ["PGPORT"])


def test_task_that_runs_again_is_followed_through_all_its_runs(sink: OtlpSink):
    enqueue("Again")
    serve_until_nothing_waits(OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)

    runs = processes_of(sink.spans, "Again")
    outcomes = [run.attributes["partisan.task.outcome"] for run in runs]
    assert sorted(outcomes) == ["completed", "postponed", "retried"]
    by_attempt = {run.attributes["partisan.task.attempt"]: run for run in runs}
    assert [link.span_id for link in by_attempt[2].links] == [by_attempt[1].span_id]
    assert [link.span_id for link in by_attempt[3].links] == [by_attempt[2].span_id]


def test_settles_link_to_the_runs_they_settle(sink: OtlpSink):
    enqueue("Spread", 3)
    serve(OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)

    runs = {span.span_id for span in sink.spans if span.name == "process default"}
    settled = [link.span_id for span in sink.spans if span.name == "settle default" for link in span.links]
    assert sorted(settled) == sorted(runs)


@pytest.mark.parametrize(
    ("set_up_by", "told"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "worker.telemetry_flush_timeout"),
        (HOST_ENDPOINT, "worker.exit_timeout"),  # the host's SDK exports in its own exit handler
    ],
)
def test_collector_that_never_answers_delays_the_end_by_the_bound_alone(
    set_up_by: str, told: str, sink: OtlpSink, tmp_path: Path
):
    """The manager's wait and its workers' waits overlap: the limit applies to the whole stop."""
    sink.mode = "hang"
    log = tmp_path / "log.json"
    enqueue("Spread", 5)
    serve(
        *("--log-format", "json", "--log-file", str(log)),
        **{set_up_by: sink.url},
        TRACED_SHUTDOWN_TIMEOUT=str(BOUND_SECONDS),
    )
    ended = time.time()

    actions = actions_of(log)
    seconds = ended - max(times_of(log, "task.completed"))
    assert BOUND_SECONDS <= seconds < 2 * BOUND_SECONDS
    assert actions.count("task.completed") == 6
    assert told in actions


def test_dead_collector_costs_no_capacity_where_workers_are_recycled(sink: OtlpSink, tmp_path: Path):
    sink.mode = "hang"
    log = tmp_path / "log.json"
    enqueue("Spread", 9)
    serve(
        *("--log-format", "json", "--log-file", str(log)),
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
        TRACED_TASKS_PER_WORKER="1",
        TRACED_SHUTDOWN_TIMEOUT="3",
    )

    assert len(times_of(log, "task.completed")) == 10
    # A worker is replaced while it still waits for its last spans: its successor in the slot has begun.
    exited = {worker(line): line["@timestamp"] for line in lines_of(log, "worker.exited")}
    starts = sorted((*worker(line), line["@timestamp"]) for line in lines_of(log, "worker.started"))
    replaced = [
        (began, exited[slot, generation])
        for (slot, generation, _), (same_slot, _, began) in pairwise(starts)
        if slot == same_slot
    ]
    assert len(replaced) >= 8
    assert all(began < end for began, end in replaced)


def worker(line: dict[str, Any]) -> tuple[int, int]:
    """Return the slot and the generation of a line's worker."""
    return line["partisan"]["worker"]["slot"], line["partisan"]["worker"]["generation"]


def test_set_up_of_the_host_stays_and_is_flushed(sink: OtlpSink):
    enqueue("Spread", 10)
    with OtlpSink() as host:
        variables = {HOST_ENDPOINT: host.url, "OTEL_EXPORTER_OTLP_ENDPOINT": sink.url}
        serve(**variables, TRACED_TASKS_PER_WORKER="1")

    assert sink.spans == []
    assert {span.resource["service.name"] for span in host.spans} == {"the host"}
    assert len(processes_of(host.spans, "Leaf")) == 10


def test_missing_exporter_is_told_once_and_costs_nothing_else():
    enqueue("Leaf", 1)
    done = serve(OTEL_TRACES_EXPORTER="postcards")

    lines = [line for line in (done.stdout + done.stderr).splitlines() if "postcards" in line]
    assert len(lines) == 1
    assert lines[0].startswith("django_partisan: ")


def test_nothing_is_exported_for_a_service_name_alone(sink: OtlpSink):
    enqueue("Leaf", 1)
    done = serve(OTEL_SERVICE_NAME="shop")

    assert sink.requests == 0
    assert "OTEL" not in done.stderr
