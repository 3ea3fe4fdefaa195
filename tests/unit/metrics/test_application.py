"""The metrics of an application about the tasks it enqueues."""

import os
from datetime import datetime, timezone
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from django_partisan.metrics import application
from django_partisan.outcomes import DUE_NOW
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.operators import TasksCancelled, TasksChanged, TasksRequeued
from django_partisan.telemetry.events.runs import TaskCompleted
from django_partisan.telemetry.events.tasks import TaskDeduplicated, TaskEnqueued, TaskEnqueueFailed
from tests.support.commands import python

from .conftest import ERROR, QUEUE, TASK

MULTIPROCESS = """
from prometheus_client import CollectorRegistry, generate_latest, multiprocess
from django_partisan.metrics.application import ClientMetrics
from django_partisan.telemetry.events.tasks import TaskDeduplicated
from django_partisan.telemetry.events.values import TaskRef
ClientMetrics().handle(TaskDeduplicated(TaskRef(1, "Mail", "default", 10, 1, 0, 0)))
registry = CollectorRegistry()
multiprocess.MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def test_enqueuings_are_counted_in_the_application_s_registry() -> None:
    registry = CollectorRegistry()
    bus.subscribe(application.ClientMetrics(registry))

    bus.emit(TaskEnqueued, TASK, datetime(2026, 1, 1, tzinfo=timezone.utc), False)
    bus.emit(TaskDeduplicated, TASK)
    bus.emit(TaskEnqueueFailed, QUEUE, "Mail", None, ERROR)
    bus.emit(TasksRequeued, QUEUE, "Mail", 3)
    bus.emit(TasksChanged, QUEUE, "Mail", 2, DUE_NOW)
    bus.emit(TasksCancelled, QUEUE, "Mail", 2, "", ())

    assert not bus.wanted(TaskCompleted)
    labels = {"queue": QUEUE, "processor": "Mail"}
    value = registry.get_sample_value
    assert value("partisan_tasks_enqueued_total", {**labels, "scheduled": "false"}) == 1
    assert value("partisan_tasks_deduplicated_total", labels) == 1
    assert value("partisan_tasks_enqueue_failed_total", labels) == 1
    assert value("partisan_tasks_requeued_total", labels) == 3
    assert value("partisan_tasks_changed_total", {"queue": QUEUE, "change": DUE_NOW}) == 2
    assert value("partisan_tasks_cancelled_total", labels) == 2


def test_there_are_no_series_that_say_when_others_began() -> None:
    registry = CollectorRegistry()
    bus.subscribe(application.ClientMetrics(registry))
    bus.emit(TaskDeduplicated, TASK)

    for exposition in (generate_latest(registry), generate_openmetrics(registry)):
        assert b"partisan_tasks_deduplicated_total{" in exposition
        assert b"_created" not in exposition
    restricted = generate_latest(registry.restricted_registry(["partisan_tasks_deduplicated_total"]))
    assert b"partisan_tasks_deduplicated_total{" in restricted


@pytest.mark.slow
def test_they_are_counted_in_the_client_library_s_multiprocess_mode_too(tmp_path: Path) -> None:
    done = python("-c", MULTIPROCESS, env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})

    assert done.stderr == ""
    assert 'partisan_tasks_deduplicated_total{processor="Mail",queue="default"} 1.0' in done.stdout
    assert "_created" not in done.stdout
