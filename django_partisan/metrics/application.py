"""Count what an application does with tasks, in the registry that the application exports."""

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeAlias

from prometheus_client import REGISTRY, CollectorRegistry, Counter
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from django_partisan.metrics import catalogue
from django_partisan.metrics.metric import Labels, Metric
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.operators import TasksCancelled, TasksChanged, TasksRequeued
from django_partisan.telemetry.events.tasks import TaskDeduplicated, TaskEnqueued, TaskEnqueueFailed

Declared: TypeAlias = tuple[Metric, str, Callable[[Any], Labels]]
"""A metric, its help text in an application, and the function that returns the labels for an event."""


def _of_one(event: Any) -> Labels:
    return event.task.queue, event.task.processor


def _of_many(event: Any) -> Labels:
    return event.queue, event.processor


COUNTED: Final[dict[type, Declared]] = {
    TaskEnqueued: (
        catalogue.TASKS_ENQUEUED,
        "Tasks that this application enqueued.",
        lambda event: (*_of_one(event), catalogue.BOOLEANS[event.scheduled]),
    ),
    TaskDeduplicated: (
        catalogue.TASKS_DEDUPLICATED,
        "Calls of this application for which a duplicate was already waiting.",
        _of_one,
    ),
    TasksRequeued: (
        catalogue.TASKS_REQUEUED,
        "Failed tasks that this application requeued.",
        _of_many,
    ),
    TasksChanged: (
        catalogue.TASKS_CHANGED,
        "Tasks that this application made due, gave another priority, or deleted.",
        lambda event: (event.queue, event.change),
    ),
    TasksCancelled: (
        catalogue.TASKS_CANCELLED,
        "Waiting tasks that this application cancelled.",
        _of_many,
    ),
    TaskEnqueueFailed: (
        catalogue.TASKS_ENQUEUE_FAILED,
        "Inserts of tasks by this application that failed.",
        _of_many,
    ),
}
"""The events of ``delay()`` and of an operator's actions on tasks."""


class ClientMetrics(bus.Subscriber, Collector):
    """The subscriber that counts; it also works in prometheus-client's multiprocess mode.

    It collects its counters without ``_created`` series, which prometheus-client can only disable for a whole
    process.
    """

    name = "metrics"

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._counters = {
            kind: Counter(metric.name, text, metric.labels, registry=None)
            for kind, (metric, text, _) in COUNTED.items()
        }
        registry.register(self)

    def wants(self, kind: type[Event]) -> bool:
        """Return whether ``kind`` is counted."""
        return kind in COUNTED

    def handle(self, event: Any) -> None:
        """Count the event, or the ``number`` of tasks that it names."""
        _, _, labels = COUNTED[type(event)]
        self._counters[type(event)].labels(*labels(event)).inc(getattr(event, "number", 1))

    def collect(self) -> Iterator[Family]:
        """Yield the counters."""
        for counter in self._counters.values():
            for family in counter.collect():
                family.samples = [one for one in family.samples if not one.name.endswith("_created")]
                yield family

    describe = collect
