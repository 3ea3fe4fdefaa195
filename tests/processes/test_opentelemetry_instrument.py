"""Managers and workers under ``opentelemetry-instrument``: log lines reach the collector and a reader."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.support.commands import MANAGE, python
from tests.support.rows import insert_many
from tools.otlp_sink import OtlpSink

from .test_tracing_processes import environment_of, processes_of

pytestmark = pytest.mark.django_db(transaction=True)

AGENT = Path(sys.executable).with_name("opentelemetry-instrument")
TASKS = 6
BOUND_SECONDS = 2.0


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with OtlpSink() as made:
        yield made


def serve(*options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Serve under the agent until no task is waiting, with workers that run one task each."""
    asked = {
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_METRICS_EXPORTER": "none",
        "TRACED_TASKS_PER_WORKER": "1",
        **variables,
    }
    command = (*MANAGE, "start_partisan", "--until-empty", *options)
    return python(str(AGENT), *command, env=environment_of(**asked))


def test_each_failure_is_logged_here_and_exported_with_its_fields_and_its_trace(sink: OtlpSink):
    insert_many(TASKS, "Broken")
    done = serve(OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)

    failed = [line for line in sink.lines if line.attributes.get("event.action") == "task.failed"]
    assert len(failed) == len({line.attributes["partisan.task.id"] for line in failed}) == TASKS
    assert {line.attributes["error.type"] for line in failed} == {"LookupError"}
    assert {line.trace_id for line in failed} == {run.trace_id for run in processes_of(sink.spans, "Broken")}
    assert sum(line.body == "about to fail" for line in sink.lines) == TASKS
    assert done.stdout.count("failed (error): LookupError: no such thing") == TASKS
    assert done.stdout.count("about to fail") == TASKS
    assert "importing the project started threads" not in done.stdout


def test_without_its_sdk_a_failure_is_still_logged():
    insert_many(1, "Broken")
    done = serve(OTEL_SDK_DISABLED="true")

    assert done.stdout.count("failed (error): LookupError: no such thing") == 1


def test_a_collector_that_never_answers_delays_the_stop_of_an_idle_manager_by_the_bound_alone(sink: OtlpSink):
    """Spans, metrics and lines are flushed concurrently; the agent's exit handlers took 10 s for each."""
    sink.mode = "hang"
    done = serve(
        *("--log-format", "ecs"),
        OTEL_EXPORTER_OTLP_ENDPOINT=sink.url,
        OTEL_METRICS_EXPORTER="otlp",
        TRACED_SHUTDOWN_TIMEOUT=str(BOUND_SECONDS),
    )
    ended = time.time()

    stopped = json.loads(done.stdout.splitlines()[-1])
    assert stopped["event.action"] == "manager.stopped"
    seconds = ended - datetime.fromisoformat(stopped["@timestamp"].replace("Z", "+00:00")).timestamp()
    assert seconds < 1.1 * BOUND_SECONDS + 2
