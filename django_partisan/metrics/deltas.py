"""Collect what was counted since the last report, as plain values that can be sent through a pipe."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from django_partisan.metrics import catalogue
from django_partisan.metrics.metric import OTHER, Key, Labels, Metric

Exemplar: TypeAlias = tuple[str, str, float, float]
"""Trace id, span id, the observed value, and its Unix time."""
HistogramDelta: TypeAlias = list[Any]
"""A dict of counts by index of the bucket, the sum, the last exemplar or ``None``."""
Report: TypeAlias = tuple[dict[Key, float], dict[Key, HistogramDelta]]
"""What is sent through the pipe: the increases of counters, and those of histograms."""

SERIES_MAX: Final = 10_000
"""The highest number of counters, and of histograms, in one report; further series are folded."""


class Deltas:
    """The increases of counters and histograms since the last ``take()``."""

    def __init__(self, max_series: int = SERIES_MAX) -> None:
        self._max_series = max_series
        self._bounds: dict[str, tuple[float, ...]] = {}
        self._counters: dict[Key, float] = {}
        self._histograms: dict[Key, HistogramDelta] = {}

    def count(self, metric: Metric, labels: Labels, amount: float = 1) -> None:
        """Add to a counter."""
        counters, key = self._counters, (metric.name, labels)
        if len(counters) >= self._max_series and key not in counters:
            key = (metric.name, fold(metric, labels, counters))
        counters[key] = counters.get(key, 0) + amount

    def observe(
        self, metric: Metric, labels: Labels, values: Sequence[float], exemplar: Exemplar | None = None
    ) -> None:
        """Add to a histogram."""
        key = (metric.name, labels)
        delta = self._histograms.get(key)
        if delta is None:
            if len(self._histograms) >= self._max_series:
                key = (metric.name, fold(metric, labels, self._counters))
            delta = self._histograms.setdefault(key, [{}, 0.0, None])
        bounds = self._bounds.get(metric.name)
        if bounds is None:
            bounds = self._bounds[metric.name] = catalogue.bounds(metric)
        add_to_buckets(delta[0], bounds, values)
        delta[1] += sum(values)
        if exemplar is not None:
            delta[2] = exemplar

    def take(self) -> Report | None:
        """Return the increases since the last call, or ``None`` if there were none."""
        if not self._counters and not self._histograms:
            return None
        report = (self._counters, self._histograms)
        self._counters, self._histograms = {}, {}
        return report


def fold(metric: Metric, labels: Labels, counters: dict[Key, float]) -> Labels:
    """Return ``labels`` with ``_other`` for every open label, and count each label that this changed."""
    folded = list(labels)
    for index, label in enumerate(metric.labels):
        if label in metric.open_labels and labels[index] != OTHER:
            increment(counters, catalogue.LABEL_OVERFLOW, label)
            folded[index] = OTHER
    return tuple(folded)


def increment(counters: dict[Key, float], metric: Metric, *labels: str) -> None:
    """Add 1 to one of the library's own counters, whether or not its series exists."""
    key = (metric.name, labels)
    counters[key] = counters.get(key, 0) + 1


def add_to_buckets(buckets: dict[int, int], bounds: tuple[float, ...], values: Sequence[float]) -> None:
    """Count ``values`` into sparse buckets; a value equal to a bound belongs to the bucket below it."""
    # Values mostly share a few buckets. Sorted, each bucket costs two searches, from the highest down.
    left = len(values)
    if left > 1:
        values = sorted(values)
    while left:
        index = bisect_left(bounds, values[left - 1])
        below = bisect_right(values, bounds[index - 1], 0, left) if index and left > 1 else 0
        buckets[index] = buckets.get(index, 0) + left - below
        left = below
