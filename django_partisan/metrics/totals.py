"""The sums of everything the manager and its workers counted; they only grow."""

import threading
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from django_partisan.metrics import catalogue, series
from django_partisan.metrics.additions import Exemplar, Observed, Value
from django_partisan.metrics.metric import HISTOGRAM, OTHER, Key, Labels, Metric, clean


class Histogram(NamedTuple):
    """A histogram's total: counts by bucket, the last one above all bounds; last exemplars by bucket."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float
    exemplars: Mapping[int, Exemplar]


class _Sum:
    __slots__ = ("bounds", "counts", "exemplars", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0
        self.exemplars: dict[int, Exemplar] = {}

    def add(self, observed: Observed) -> None:
        buckets, total, exemplar = observed
        for index, count in buckets.items():
            self.counts[index] += count
        self.sum += total
        if exemplar is not None:
            self.exemplars[bisect_left(self.bounds, exemplar[2])] = exemplar

    def copy(self) -> Histogram:
        return Histogram(self.bounds, tuple(self.counts), self.sum, dict(self.exemplars))


class Totals:
    """Sum additions by series; the lock is held for additions and copies only.

    Beyond ``max_series`` series that were not there from the start, and ``max_error_types`` classes
    of errors a processor, what is new is added to ``_other`` and counted.
    """

    def __init__(
        self, queue: str, metrics: Mapping[str, Metric], max_series: int, max_error_types: int
    ) -> None:
        self._queue = queue
        self.metrics = metrics
        self._max_series = max_series
        self._max_error_types = max_error_types
        self._counters: dict[Key, float] = {}
        self._histograms: dict[Key, _Sum] = {}
        self._error_types: dict[Labels, set[str]] = {}
        self._admitted = 0
        self._lock = threading.Lock()

    def start(self, keys: Iterable[Key]) -> None:
        """Have these series exist, at 0, whether or not anything is added to them."""
        with self._lock:
            for key in keys:
                self._open(key)

    def add(self, value: Value) -> None:
        """Add what ``Additions.drain()`` returned."""
        counters, histograms = value
        with self._lock:
            for key, amount in counters.items():
                place = key if key in self._counters else self._admit(key)
                if place is not None:
                    self._counters[place] += amount
            for key, observed in histograms.items():
                place = key if key in self._histograms else self._admit(key)
                if place is not None:
                    self._histograms[place].add(observed)

    def count(self, metric: Metric, *labels: str) -> None:
        """Add 1 to a counter."""
        self.add(({(metric.name, labels): 1}, {}))

    def copy(self) -> tuple[dict[Key, float], dict[Key, Histogram]]:
        """Return all counters and histograms as they are now."""
        with self._lock:
            return dict(self._counters), {key: total.copy() for key, total in self._histograms.items()}

    def _open(self, key: Key) -> None:
        metric = self.metrics[key[0]]
        if metric.kind == HISTOGRAM:
            if key not in self._histograms:
                self._histograms[key] = _Sum(catalogue.bounds(metric))
        else:
            self._counters.setdefault(key, 0)

    def _admit(self, key: Key) -> Key | None:
        """Return the series that takes what belongs to a new one; ``None`` for a metric nobody knows."""
        name, labels = key
        metric = self.metrics.get(name)
        if metric is None or len(metric.labels) != len(labels):
            dropped = (catalogue.TELEMETRY_DROPPED.name, (self._queue, series.DROPPED_UNKNOWN))
            self._counters[dropped] = self._counters.get(dropped, 0) + 1
            return None
        labels = tuple(map(clean, labels))
        if metric is catalogue.TASK_ERRORS:
            labels = self._within_error_types(labels)
        if (name, labels) not in self._counters and (name, labels) not in self._histograms:
            labels = self._within_series(metric, labels)
        self._open((name, labels))
        return name, labels

    def _within_error_types(self, labels: Labels) -> Labels:
        queue, processor, error_type, outcome = labels
        known = self._error_types.setdefault((queue, processor), set())
        if error_type in known or error_type == OTHER:
            return labels
        if len(known) < self._max_error_types:
            known.add(error_type)
            return labels
        self._overflow(("error_type",))
        return queue, processor, OTHER, outcome

    def _within_series(self, metric: Metric, labels: Labels) -> Labels:
        if self._admitted < self._max_series:
            self._admitted += 1
            return labels
        folded, changed = metric.fold(labels)
        self._overflow(changed)
        return folded

    def _overflow(self, labels: Labels) -> None:
        for label in labels:
            key = (catalogue.LABEL_OVERFLOW.name, (label,))
            self._counters[key] = self._counters.get(key, 0) + 1
