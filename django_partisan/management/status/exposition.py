"""The report in Prometheus' text format, under the names that managers export."""

from collections import Counter
from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from django_partisan.management.status.report import QueueStatus, StatusReport
from django_partisan.metrics import catalogue
from django_partisan.metrics.metric import Metric, clean
from django_partisan.sql.manager_state import PublishedManager, Run


class _Report(Collector):
    def __init__(self, report: StatusReport) -> None:
        self._report = report

    def collect(self) -> Iterator[Family]:
        """Yield the families of the report."""
        queues, managers = self._report.queues, self._report.managers
        yield _family(catalogue.QUEUE_TASKS, _states(queues))
        yield _family(catalogue.QUEUE_HELD_TASKS, _held(queues).items())
        yield _family(
            catalogue.OLDEST_DUE_AGE,
            (((queue.name,), queue.statistics.oldest_due_age) for queue in queues),
        )
        yield _family(
            catalogue.MANAGERS_ALIVE,
            (((queue.name,), queue.statistics.managers_alive) for queue in queues),
        )
        runs = _runs(managers)
        yield _family(catalogue.TASKS_IN_PROGRESS, ((key, len(each)) for key, each in runs.items()))
        yield _family(
            catalogue.OLDEST_RUN_AGE,
            ((key, max(run.seconds for run in each)) for key, each in runs.items()),
        )
        yield _family(
            catalogue.QUEUE_PAUSED, (((queue.name,), float(queue.pause is not None)) for queue in queues)
        )


def as_exposition(report: StatusReport) -> str:
    """Return the report as text in the format of a scrape."""
    registry = CollectorRegistry()
    registry.register(_Report(report))
    return generate_latest(registry).decode()


def _family(metric: Metric, samples: Iterable[tuple[tuple[str, ...], float]]) -> Family:
    family = GaugeMetricFamily(metric.family, metric.help, labels=metric.labels)
    for labels, value in samples:
        family.add_metric([*map(clean, labels)], float(value))
    return family


def _states(queues: Iterable[QueueStatus]) -> Iterator[tuple[tuple[str, str], float]]:
    for queue in queues:
        found = queue.statistics
        for state in ("due", "scheduled", "in_process", "error"):
            yield (queue.name, state), getattr(found, state)


def _held(queues: Iterable[QueueStatus]) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for queue in queues:
        for held in queue.statistics.held:
            found[queue.name, clean(held.processor), held.reason] += held.number
    return found


def _runs(managers: Iterable[PublishedManager]) -> dict[tuple[str, str], list[Run]]:
    """Return the runs of live managers and workers, by queue and processor as labels with truncated names."""
    found: dict[tuple[str, str], list[Run]] = {}
    for manager in managers:
        for run in manager.runs if manager.is_alive else ():
            found.setdefault((manager.queue, clean(run.processor)), []).append(run)
    return found
