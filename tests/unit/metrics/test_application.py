"""What an application exports of its own enqueuings."""

from datetime import datetime, timezone

from prometheus_client import CollectorRegistry

from django_partisan.metrics import application
from django_partisan.telemetry import bus, events

from .conftest import ERROR, QUEUE, TASK


def test_enqueuings_are_counted_in_the_application_s_registry() -> None:
    registry = CollectorRegistry()
    bus.subscribe(application.ClientMetrics(registry))

    bus.emit(events.TaskEnqueued, TASK, datetime(2026, 1, 1, tzinfo=timezone.utc), False)
    bus.emit(events.TaskDeduplicated, TASK)
    bus.emit(events.TaskEnqueueFailed, QUEUE, "Mail", None, ERROR)
    bus.emit(events.TasksRequeued, QUEUE, "Mail", 3)

    assert not bus.wanted(events.TaskCompleted)
    labels = {"queue": QUEUE, "processor": "Mail"}
    value = registry.get_sample_value
    assert value("partisan_tasks_enqueued_total", {**labels, "scheduled": "false"}) == 1
    assert value("partisan_tasks_deduplicated_total", labels) == 1
    assert value("partisan_tasks_enqueue_failed_total", labels) == 1
    assert value("partisan_tasks_requeued_total", labels) == 3
