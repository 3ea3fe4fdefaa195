"""Count what an application does with tasks, in the registry that the application exports."""

from collections.abc import Iterator
from typing import Any, Final

from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from django_partisan.metrics import catalogue
from django_partisan.metrics.metric import Metric
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.operators import TasksCancelled, TasksChanged, TasksRequeued
from django_partisan.telemetry.events.tasks import TaskDeduplicated, TaskEnqueued, TaskEnqueueFailed

HELP: Final = {
    catalogue.TASKS_ENQUEUED.name: "Tasks that this application enqueued.",
    catalogue.TASKS_DEDUPLICATED.name: "Calls of this application for which a duplicate was already waiting.",
    catalogue.TASKS_ENQUEUE_FAILED.name: "Inserts of tasks by this application that failed.",
    catalogue.TASKS_REQUEUED.name: "Failed tasks that this application requeued.",
    catalogue.TASKS_CHANGED.name: "Tasks that this application made due, gave another priority, or deleted.",
    catalogue.TASKS_CANCELLED.name: "Waiting tasks that this application cancelled.",
}


class ClientMetrics(bus.Subscriber):
    """The subscriber that counts; it also works in prometheus-client's multiprocess mode."""

    name = "metrics"

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._enqueued = _counter(catalogue.TASKS_ENQUEUED)
        self._deduplicated = _counter(catalogue.TASKS_DEDUPLICATED)
        self._requeued = _counter(catalogue.TASKS_REQUEUED)
        self._changed = _counter(catalogue.TASKS_CHANGED)
        self._cancelled = _counter(catalogue.TASKS_CANCELLED)
        self._failed = _counter(catalogue.TASKS_ENQUEUE_FAILED)
        self.collector = _Counters(
            self._enqueued, self._deduplicated, self._requeued, self._changed, self._cancelled, self._failed
        )
        registry.register(self.collector)

    def wants(self, kind: type[Event]) -> bool:
        """Return whether ``kind`` is an event of ``delay()`` or of an operator's action on tasks."""
        return kind in (
            TaskEnqueued, TaskDeduplicated, TaskEnqueueFailed, TasksRequeued, TasksChanged, TasksCancelled
        )  # fmt: skip

    def handle(self, event: Any) -> None:
        """Count the event."""
        if isinstance(event, TaskEnqueued):
            scheduled = catalogue.BOOLEANS[event.scheduled]
            self._enqueued.labels(event.task.queue, event.task.processor, scheduled).inc()
        elif isinstance(event, TaskDeduplicated):
            self._deduplicated.labels(event.task.queue, event.task.processor).inc()
        elif isinstance(event, TasksRequeued):
            self._requeued.labels(event.queue, event.processor).inc(event.number)
        elif isinstance(event, TasksChanged):
            self._changed.labels(event.queue, event.change).inc(event.number)
        elif isinstance(event, TasksCancelled):
            self._cancelled.labels(event.queue, event.processor).inc(event.number)
        else:
            self._failed.labels(event.queue, event.processor).inc()


def _counter(metric: Metric) -> Counter:
    return Counter(metric.name, HELP[metric.name], metric.labels, registry=None)


class _Counters(Collector):
    """Counters without ``_created`` series, which prometheus-client can only disable for a whole process."""

    def __init__(self, *counters: Counter) -> None:
        self._counters = counters

    def describe(self) -> Iterator[Family]:
        for counter in self._counters:
            yield from counter.describe()

    def collect(self) -> Iterator[Family]:
        for counter in self._counters:
            for family in counter.collect():
                family.samples = [one for one in family.samples if not one.name.endswith("_created")]
                yield family
