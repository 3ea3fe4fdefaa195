"""Build all metric families of a scrape from parts, each of which can fail without the others."""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from itertools import accumulate
from typing import Any, Final, TypeAlias

import django
import prometheus_client
from prometheus_client import GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar

import django_partisan
from django_partisan.config import observability
from django_partisan.metrics import catalogue, gauges, sampler
from django_partisan.metrics.aggregator import Histogram
from django_partisan.metrics.gauges import Sample, SlotCounter
from django_partisan.metrics.memory import memory
from django_partisan.metrics.metric import COUNTER, GAUGE, HISTOGRAM, INFO, Labels, Metric
from django_partisan.metrics.recorder import ManagerRecorder
from django_partisan.metrics.sampler import Sampler
from django_partisan.telemetry import swallowed
from django_partisan.telemetry.events.snapshot import Snapshot

Part: TypeAlias = Callable[[], Iterable[Sample]]

OF_THE_PROCESS: Final[tuple[Collector, ...]] = (PROCESS_COLLECTOR, PLATFORM_COLLECTOR, GC_COLLECTOR)

_FAMILIES: Final[dict[str, Callable[..., Family]]] = {
    COUNTER: CounterMetricFamily,
    GAUGE: GaugeMetricFamily,
    HISTOGRAM: HistogramMetricFamily,
    INFO: InfoMetricFamily,
}


class PartisanCollector(Collector):
    """The collector that builds the families of ``metrics`` and of the manager's process at each scrape."""

    def __init__(
        self,
        metrics: Mapping[str, Metric],
        processors: Iterable[str],
        recorder: ManagerRecorder,
        snapshot: Callable[[], Snapshot],
        database: Sampler,
    ) -> None:
        self._metrics = metrics
        self._processors = tuple(processors)
        self._recorder = recorder
        self._snapshot = snapshot
        self._database = database
        self._busy, self._cpu = SlotCounter(), SlotCounter()

    def describe(self) -> list[Family]:
        """Return the families without series, so that ``name[]`` finds them."""
        return [*map(_empty, self._metrics.values()), *self._process_metrics()]

    def collect(self) -> list[Family]:
        """Return every family; a part that raises has no further series, and its error is counted."""
        families = {name: _empty(metric) for name, metric in self._metrics.items()}
        shows_created = observability.value("METRICS_CREATED")
        for part in self._parts():
            try:
                for metric, labels, value in part():
                    if value is None:
                        continue
                    created_at = self._created_at(metric, labels) if shows_created else None
                    _add(families[metric.name], metric, labels, value, created_at)
            except Exception:
                swallowed.swallow("metrics")
        return [*families.values(), *self._process_metrics()]

    def _created_at(self, metric: Metric, labels: Labels) -> float | None:
        """Return when a series began; ``None`` for gauges, and for counts that come from the database."""
        if metric.kind not in (COUNTER, HISTOGRAM) or "D" in metric.sources:
            return None
        return self._recorder.aggregator.created_at((metric.name, labels))

    def _parts(self) -> tuple[Part, ...]:
        """Return the parts of one scrape; counted series are last, to include the errors of other parts."""
        snapshot = cache(self._snapshot)
        return (
            self._from_database,
            lambda: gauges.of_manager(snapshot()),
            lambda: gauges.of_runs(snapshot(), self._processors),
            lambda: gauges.of_limits(snapshot()),
            lambda: gauges.of_memory(snapshot(), memory()),
            lambda: gauges.of_workers(snapshot(), self._busy),
            lambda: gauges.of_processes(snapshot(), self._cpu, self._recorder.peaks),
            self._counted,
        )

    def _from_database(self) -> Iterator[Sample]:
        answer = self._database.answer()
        yield from sampler.samples(self._recorder.queue, answer)
        versions = (django_partisan.__version__, django.__version__, platform.python_version())
        yield catalogue.BUILD_INFO, (*versions, answer.server_version or "unknown"), 1

    def _counted(self) -> Iterator[Sample]:
        self._recorder.flush()
        for (name, labels), value in self._recorder.aggregator.copy().items():
            yield self._metrics[name], labels, value

    def _process_metrics(self) -> Iterator[Family]:
        for collector in OF_THE_PROCESS:
            try:
                yield from collector.collect()
            except Exception:
                swallowed.swallow("metrics")


def _empty(metric: Metric) -> Any:
    return _FAMILIES[metric.kind](metric.family, metric.help, labels=metric.labels)


def _add(
    family: Any, metric: Metric, values: Labels, value: float | Histogram, created_at: float | None
) -> None:
    labels = [*map(str, values)]
    if isinstance(value, Histogram):
        family.add_metric(labels, _buckets(value), value.sum)
    elif metric.kind == INFO:
        family.add_metric(labels, {})
    else:
        family.add_metric(labels, float(value))
    if created_at is not None:
        named = dict(zip(metric.labels, labels, strict=True))
        family.add_sample(f"{metric.family}_created", named, created_at)


def _buckets(histogram: Histogram) -> list[tuple[str, float, Exemplar | None]]:
    bounds = _bounds(histogram.bounds)
    totals = accumulate(histogram.counts)
    exemplars = map(histogram.exemplars.get, range(len(bounds)))
    return list(zip(bounds, totals, exemplars, strict=True))


@cache
def _bounds(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """Return the bounds of a histogram and ``+Inf``, as prometheus-client writes them."""
    [metric] = prometheus_client.Histogram("bounds", "", buckets=bounds, registry=None).collect()
    return tuple(sample.labels["le"] for sample in metric.samples if sample.name == "bounds_bucket")
