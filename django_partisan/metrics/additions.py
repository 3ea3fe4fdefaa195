"""What was counted since somebody last asked, as plain values that can cross a pipe."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

from django_partisan.metrics import catalogue
from django_partisan.metrics.metric import Key, Metric

Exemplar: TypeAlias = tuple[str, str, float, float]
"""Trace id, span id, the value observed, and when (Unix time)."""
Observed: TypeAlias = list[Any]
"""A histogram's additions: dict of counts by index of the bucket, sum, last exemplar or ``None``."""
Value: TypeAlias = tuple[dict[Key, float], dict[Key, Observed]]
"""What crosses the pipe: additions to counters, additions to histograms."""

SERIES_MAX: Final = 10_000
"""Most series of one message; further ones are folded."""
FEW: Final = 8


class Additions:
    """Counters and histograms that only grow, until ``drain()`` takes them away."""

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        """Take note of ``metrics`` only; the mapping may grow later."""
        self._metrics = metrics
        self._bounds: dict[str, tuple[float, ...]] = {}
        self._counters: dict[Key, float] = {}
        self._histograms: dict[Key, Observed] = {}

    def count(self, key: Key, amount: float = 1) -> None:
        """Add to a counter."""
        counters = self._counters
        if key in counters:
            counters[key] += amount
        elif len(counters) < SERIES_MAX:
            counters[key] = amount
        else:
            self._count_folded(key, amount)

    def observe(self, key: Key, values: Sequence[float], exemplar: Exemplar | None = None) -> None:
        """Add to a histogram."""
        found = self._histograms.get(key) or self._observed(key)
        bounds = self._bounds.get(key[0]) or self._bounds_of(key[0])
        add_to_buckets(found[0], bounds, values)
        found[1] += sum(values)
        if exemplar is not None:
            found[2] = exemplar

    def drain(self) -> Value | None:
        """Return what was added and forget it; ``None`` if that is nothing."""
        if not self._counters and not self._histograms:
            return None
        value = (self._counters, self._histograms)
        self._counters, self._histograms = {}, {}
        return value

    def _bounds_of(self, name: str) -> tuple[float, ...]:
        bounds = self._bounds[name] = catalogue.bounds(self._metrics[name])
        return bounds

    def _observed(self, key: Key) -> Observed:
        if len(self._histograms) >= SERIES_MAX:
            key = self._folded(key)
        return self._histograms.setdefault(key, [{}, 0.0, None])

    def _count_folded(self, key: Key, amount: float) -> None:
        key = self._folded(key)
        self._counters[key] = self._counters.get(key, 0) + amount

    def _folded(self, key: Key) -> Key:
        folded, changed = self._metrics[key[0]].fold(key[1])
        for label in changed:
            overflow = (catalogue.LABEL_OVERFLOW.name, (label,))
            self._counters[overflow] = self._counters.get(overflow, 0) + 1
        return key[0], folded


def add_to_buckets(buckets: dict[int, int], bounds: tuple[float, ...], values: Sequence[float]) -> None:
    """Count ``values`` into sparse buckets; one that equals a bound belongs below it."""
    if len(values) < FEW:
        for value in values:
            index = bisect_left(bounds, value)
            buckets[index] = buckets.get(index, 0) + 1
        return
    # Many values mostly share a few buckets: sorting, then one search a bucket, costs a third.
    values = sorted(values)
    done = 0
    for index, bound in enumerate(bounds):
        place = bisect_right(values, bound, done)
        if place > done:
            buckets[index] = buckets.get(index, 0) + place - done
            done = place
            if done == len(values):
                return
    buckets[len(bounds)] = buckets.get(len(bounds), 0) + len(values) - done
