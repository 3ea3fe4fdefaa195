"""From samples to the metric families of the Prometheus client, and from those to text."""

from collections.abc import Iterable
from functools import lru_cache
from typing import TypeAlias

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

from django_partisan.metrics import metric as kinds
from django_partisan.metrics.metric import Labels, Metric
from django_partisan.metrics.totals import Histogram

Sample: TypeAlias = tuple[Metric, Labels, float | Histogram]
"""A metric, the values of its labels, and its value; an info's is not looked at."""

_CLASSES: dict[str, type[Family]] = {
    kinds.COUNTER: CounterMetricFamily,
    kinds.GAUGE: GaugeMetricFamily,
    kinds.HISTOGRAM: HistogramMetricFamily,
    kinds.INFO: InfoMetricFamily,
}


def empty(metric: Metric) -> Family:
    """Return the family of a metric, without series."""
    return _CLASSES[metric.kind](metric.family, metric.help, labels=metric.labels)  # type: ignore[call-arg]


def filled(metrics: Iterable[Metric], samples: Iterable[Sample]) -> list[Family]:
    """Return the families of all ``metrics``, in that order, with their series."""
    families = {metric.name: empty(metric) for metric in metrics}
    for metric, labels, value in samples:
        _add(families[metric.name], metric, labels, value)
    return list(families.values())


def _add(family: Family, metric: Metric, labels: Labels, value: float | Histogram) -> None:
    if isinstance(family, HistogramMetricFamily) and isinstance(value, Histogram):
        family.add_metric(labels, _buckets(value), value.sum)
    elif isinstance(family, InfoMetricFamily):
        family.add_metric(labels, {})
    elif isinstance(family, CounterMetricFamily | GaugeMetricFamily) and not isinstance(value, Histogram):
        family.add_metric(labels, value)
    else:
        raise TypeError(f"{metric.name} is a {metric.kind}, and cannot have the value {value!r}.")


def _buckets(histogram: Histogram) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    total = 0
    pairs = zip(_bound_texts(histogram.bounds), histogram.counts, strict=True)
    for index, (bound, count) in enumerate(pairs):
        total += count
        found = histogram.exemplars.get(index)
        if found is None:
            buckets.append((bound, total))
        else:
            trace_id, span_id, value, moment = found
            exemplar = Exemplar({"trace_id": trace_id, "span_id": span_id}, value, moment)
            buckets.append((bound, total, exemplar))
    return buckets


@lru_cache(maxsize=64)
def _bound_texts(bounds: tuple[float, ...]) -> tuple[str, ...]:
    return (*map(floatToGoString, bounds), "+Inf")
