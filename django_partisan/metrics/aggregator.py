"""Sum what the manager and all its workers counted, by series; totals never decrease."""

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client.samples import Exemplar

from django_partisan.metrics import catalogue
from django_partisan.metrics.deltas import HistogramDelta, Report, fold, increment
from django_partisan.metrics.metric import HISTOGRAM, OTHER, Key, Labels, Metric, clean


@dataclass
class Histogram:
    """The total of a histogram: counts by bucket, the last above all bounds; the last exemplar of each."""

    bounds: tuple[float, ...]
    counts: list[int]
    sum: float
    exemplars: dict[int, Exemplar]

    def __iadd__(self, delta: HistogramDelta) -> "Histogram":
        """Add what a worker observed."""
        buckets, total, exemplar = delta
        for index, count in buckets.items():
            self.counts[index] += count
        self.sum += total
        if exemplar is not None:
            trace_id, span_id, value, moment = exemplar
            ids = {"trace_id": trace_id, "span_id": span_id}
            self.exemplars[bisect_left(self.bounds, value)] = Exemplar(ids, value, moment)
        return self

    def copy(self) -> "Histogram":
        """Return a copy that shares no containers with this total."""
        return Histogram(self.bounds, self.counts[:], self.sum, self.exemplars.copy())


class Aggregator:
    """The sums of all reports, by series; the lock is held only to add and to copy.

    Series beyond ``max_series`` (initial ones do not count) and error types beyond ``max_error_types`` of a
    processor are added to ``_other``; such additions are counted.
    """

    def __init__(
        self, queue: str, metrics: Mapping[str, Metric], max_series: int, max_error_types: int
    ) -> None:
        self._queue = queue
        self.metrics = metrics
        self._max_series = max_series
        self._max_error_types = max_error_types
        self._totals: dict[Key, Any] = {}
        self._error_types: dict[Labels, set[str]] = {}
        self._admitted = 0
        self._began_at = time.time()
        self._created: dict[Key, float] = {}
        self._lock = threading.Lock()

    def start_at_zero(self, keys: Iterable[Key]) -> None:
        """Export these series as 0 until something is added to them."""
        with self._lock:
            for key in keys:
                self._open(key)

    def add(self, report: Report) -> int:
        """Add a report of a worker or of the manager itself; return how many of its series are unknown."""
        counters, histograms = report
        unknown = 0
        with self._lock:
            for key, increase in (*counters.items(), *histograms.items()):
                admitted = key if key in self._totals else self._admit(key)
                if admitted is None:
                    unknown += 1
                else:
                    self._totals[admitted] += increase
        return unknown

    def copy(self) -> dict[Key, Any]:
        """Return all totals as they are now: a number for a counter, a ``Histogram`` for a histogram."""
        with self._lock:
            return {
                key: total.copy() if isinstance(total, Histogram) else total
                for key, total in self._totals.items()
            }

    def created_at(self, key: Key) -> float:
        """Return the Unix time at which a series began."""
        return self._created.get(key, self._began_at)

    def _open(self, key: Key) -> None:
        metric = self.metrics[key[0]]
        self._created.setdefault(key, time.time())
        if metric.kind != HISTOGRAM:
            self._totals.setdefault(key, 0)
        elif key not in self._totals:
            bounds = catalogue.bounds(metric)
            self._totals[key] = Histogram(bounds, [0] * (len(bounds) + 1), 0.0, {})

    def _admit(self, key: Key) -> Key | None:
        """Return the series for a new key, with ``_other`` beyond a limit; ``None`` for an unknown metric."""
        name, values = key
        metric = self.metrics.get(name)
        if metric is None or len(metric.labels) != len(values):
            increment(self._totals, catalogue.TELEMETRY_DROPPED, self._queue, catalogue.DROPPED_UNKNOWN)
            return None
        values = tuple(map(clean, values))
        if metric is catalogue.TASK_ERRORS:
            values = self._within_error_types(values)
        if (name, values) not in self._totals:
            if self._admitted < self._max_series:
                self._admitted += 1
            else:
                values = fold(metric, values, self._totals)
        self._open((name, values))
        return name, values

    def _within_error_types(self, values: Labels) -> Labels:
        queue, processor, error_type, outcome = values
        known = self._error_types.setdefault((queue, processor), {OTHER})
        if error_type not in known and len(known) > self._max_error_types:
            increment(self._totals, catalogue.LABEL_OVERFLOW, "error_type")
            return queue, processor, OTHER, outcome
        known.add(error_type)
        return values
