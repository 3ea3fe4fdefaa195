"""Capture what a ``with`` block adds to the metrics, without an exporter or a registry."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

from django_partisan import registry
from django_partisan.metrics import catalogue, custom
from django_partisan.metrics.metric import COUNTER, HISTOGRAM, Labels, Metric
from django_partisan.metrics.recorder import Recorder
from django_partisan.names import DEFAULT_QUEUE
from django_partisan.telemetry import bus

_PARTS: Final = ("_count", "_sum")
"""The suffixes of a histogram's series: the number of observed values, and their sum."""


class Sample(NamedTuple):
    """The amount that was added to one series."""

    name: str
    labels: dict[str, str]
    value: float


class CapturedMetrics:
    """The amounts that were added to counters and histograms so far."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._added: dict[tuple[str, Labels], float] = {}

    @property
    def samples(self) -> list[Sample]:
        """The amount added to each series; a histogram has the series ``_count`` and ``_sum``."""
        self._take()
        metrics = _metrics()
        return [
            Sample(name, dict(zip(metrics[name].labels, labels, strict=True)), value)
            for (name, labels), value in self._added.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """Return the amount added to all series of a metric with these labels; 0 if there is no such series.

        For a histogram, use ``{name}_count`` or ``{name}_sum``. Raises ``ValueError`` for a metric or a label
        that does not exist.
        """
        metrics = _metrics()
        if name not in metrics:
            known = ", ".join(sorted(metrics))
            raise ValueError(f"There is no counter or histogram {name!r}; known: {known}.")
        if unknown := sorted(labels.keys() - set(metrics[name].labels)):
            known = ", ".join(metrics[name].labels) or "none"
            raise ValueError(f"{name} has no label {', '.join(unknown)}; its labels: {known}.")
        return sum(
            one.value for one in self.samples if one.name == name and labels.items() <= one.labels.items()
        )

    def _take(self) -> None:
        counters, histograms = self._recorder.take() or ({}, {})
        for key, amount in counters.items():
            self._add(key, amount)
        for (name, labels), (buckets, total, _) in histograms.items():
            for part, amount in zip(_PARTS, (sum(buckets.values()), total), strict=True):
                self._add((name + part, labels), amount)

    def _add(self, key: tuple[str, Labels], amount: float) -> None:
        self._added[key] = self._added.get(key, 0) + amount


@contextmanager
def captured_metrics() -> Iterator[CapturedMetrics]:
    """Capture what this process adds to metrics of the library and of tasks in a ``with`` block.

    Gauges, and counters that only a manager increments, such as claims, are not captured.
    """
    recorder = Recorder(DEFAULT_QUEUE)
    captured = CapturedMetrics(recorder)
    bus.subscribe(recorder)
    try:
        yield captured
    finally:
        bus.unsubscribe(recorder)


def _metrics() -> dict[str, Metric]:
    """Return each counter by its name, and each histogram by the names of its series."""
    found: dict[str, Metric] = {}
    for metric in {**catalogue.METRICS, **custom.declared(registry.definitions.values())}.values():
        if metric.kind == COUNTER:
            found[metric.name] = metric
        elif metric.kind == HISTOGRAM:
            found.update((metric.name + part, metric) for part in _PARTS)
    return found
