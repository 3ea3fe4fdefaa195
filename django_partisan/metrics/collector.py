"""What a scrape consists of: parts that fail alone, and every family in every scrape."""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeAlias

import django
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector as AnyCollector

import django_partisan
from django_partisan.facts import Snapshot
from django_partisan.metrics import catalogue, sampler, state
from django_partisan.metrics.families import Sample, empty, filled
from django_partisan.metrics.manager import ManagerRecorder
from django_partisan.metrics.metric import Metric
from django_partisan.metrics.resources import Resources, SlotCounter
from django_partisan.metrics.sampler import Sampler

Part: TypeAlias = Callable[[], Iterable[Sample]]
OnError: TypeAlias = Callable[[], None]
"""Called inside an ``except``: count the error under way, and tell it once."""

UNKNOWN = "unknown"


class PartisanCollector:
    """Build the families of ``metrics`` anew at each scrape."""

    def __init__(self, metrics: Mapping[str, Metric], parts: Iterable[Part], on_error: OnError) -> None:
        """Fill the families from ``parts``; one that raises yields nothing and is reported."""
        self._metrics = metrics
        self._parts = tuple(parts)
        self._on_error = on_error

    def describe(self) -> list[Family]:
        """Return the families without series, so that ``name[]`` finds them."""
        return [empty(metric) for metric in self._metrics.values()]

    def collect(self) -> list[Family]:
        """Return every family, with the series that the parts yield."""
        samples: list[Sample] = []
        for part in self._parts:
            try:
                samples += part()
            except Exception:
                self._on_error()
        return filled(self._metrics.values(), samples)


class Guarded:
    """Another library's collector that may fail without taking the scrape with it."""

    def __init__(self, inner: AnyCollector, on_error: OnError) -> None:
        self._inner = inner
        self._on_error = on_error

    def describe(self) -> list[Family]:
        """Return what is collected now: these collectors have no other description."""
        return self.collect()

    def collect(self) -> list[Family]:
        """Return the inner collector's families, or none if it raises."""
        try:
            return list(self._inner.collect())
        except Exception:
            self._on_error()
            return []


class Parts:
    """The parts of a manager's scrape."""

    def __init__(
        self,
        queue: str,
        processors: Iterable[str],
        recorder: ManagerRecorder,
        snapshot: Callable[[], Snapshot],
        figures: Sampler,
    ) -> None:
        self._queue = queue
        self._processors = tuple(processors)
        self._recorder = recorder
        self._snapshot = snapshot
        self._figures = figures
        self._busy = SlotCounter()
        self._resources = Resources()

    def all(self) -> tuple[Part, ...]:
        """Return the parts; the counted ones last, so that they hold what the others swallowed."""
        return (self.manager, self.runs, self.workers, self.resources, self.database, self.counted)

    def manager(self) -> Iterable[Sample]:
        return state.of_manager(self._snapshot())

    def runs(self) -> Iterable[Sample]:
        return state.of_runs(self._snapshot(), self._processors)

    def workers(self) -> Iterable[Sample]:
        return state.of_workers(self._snapshot(), self._busy)

    def resources(self) -> Iterable[Sample]:
        return state.of_resources(self._snapshot(), self._resources)

    def database(self) -> Iterator[Sample]:
        answer = self._figures.answer()
        yield from sampler.samples(self._queue, answer)
        server = answer.figures.server_version if answer.figures else UNKNOWN
        versions = (django_partisan.__version__, django.__version__, platform.python_version(), server)
        yield catalogue.BUILD_INFO, versions, 1

    def counted(self) -> Iterator[Sample]:
        self._recorder.flush()
        counters, histograms = self._recorder.totals.copy()
        metrics = self._recorder.totals.metrics
        for (name, labels), value in counters.items():
            yield metrics[name], labels, value
        for (name, labels), histogram in histograms.items():
            yield metrics[name], labels, histogram


def registry_of(collector: PartisanCollector, on_error: OnError) -> CollectorRegistry:
    """Return a registry of its own with ``collector`` and those of process, platform and GC."""
    registry = CollectorRegistry()
    registry.register(collector)
    nowhere = CollectorRegistry()  # each registers itself, so first where it does no harm
    for kind in (ProcessCollector, PlatformCollector, GCCollector):
        registry.register(Guarded(kind(registry=nowhere), on_error))
    return registry
