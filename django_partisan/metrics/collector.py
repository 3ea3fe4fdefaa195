"""What a scrape consists of: parts that fail alone, and every family in every scrape."""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from typing import TypeAlias

import django
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector as AnyCollector

import django_partisan
from django_partisan.metrics import catalogue, sampler, state
from django_partisan.metrics.families import Sample, empty, filled
from django_partisan.metrics.manager import ManagerRecorder
from django_partisan.metrics.metric import Metric
from django_partisan.metrics.resources import Resources, SlotCounter
from django_partisan.metrics.sampler import Sampler
from django_partisan.telemetry.events import Snapshot

Part: TypeAlias = Callable[[], Iterable[Sample]]
OnError: TypeAlias = Callable[[], None]
"""Called inside an ``except``: count the error under way, and tell it once."""

UNKNOWN = "unknown"


class PartisanCollector:
    """Build the families of ``metrics`` anew at each scrape."""

    def __init__(
        self, metrics: Mapping[str, Metric], parts: Callable[[], Iterable[Part]], on_error: OnError
    ) -> None:
        """Fill the families from the parts of a scrape; one that raises yields nothing and is reported."""
        self._metrics = metrics
        self._parts = parts
        self._on_error = on_error

    def describe(self) -> list[Family]:
        """Return the families without series, so that ``name[]`` finds them."""
        return [empty(metric) for metric in self._metrics.values()]

    def collect(self) -> list[Family]:
        """Return every family, with the series that the parts yield."""
        samples: list[Sample] = []
        for part in self._parts():
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


class Scrapes:
    """The parts of a manager's scrapes, made anew for each: a snapshot is taken once a scrape."""

    def __init__(
        self,
        queue: str,
        processors: Iterable[str],
        recorder: ManagerRecorder,
        snapshot: Callable[[], Snapshot],
        figures: Sampler,
    ) -> None:
        self.queue = queue
        self.processors = tuple(processors)
        self.recorder = recorder
        self.snapshot = snapshot
        self.figures = figures
        self.busy = SlotCounter()
        self.resources = Resources()

    def __call__(self) -> tuple[Part, ...]:
        """Return the parts of one scrape; what was counted comes last, with what the others swallowed."""
        scrape = _Scrape(self)
        return (
            scrape.database,
            scrape.manager,
            scrape.runs,
            scrape.workers,
            scrape.resources,
            scrape.counted,
        )


class _Scrape:
    def __init__(self, scrapes: Scrapes) -> None:
        self._all = scrapes

    @cached_property
    def _snapshot(self) -> Snapshot:
        return self._all.snapshot()

    def manager(self) -> Iterable[Sample]:
        return state.of_manager(self._snapshot)

    def runs(self) -> Iterable[Sample]:
        return state.of_runs(self._snapshot, self._all.processors)

    def workers(self) -> Iterable[Sample]:
        return state.of_workers(self._snapshot, self._all.busy)

    def resources(self) -> Iterable[Sample]:
        return state.of_resources(self._snapshot, self._all.resources)

    def database(self) -> Iterator[Sample]:
        answer = self._all.figures.answer()
        yield from sampler.samples(self._all.queue, answer)
        server = answer.figures.server_version if answer.figures else UNKNOWN
        versions = (django_partisan.__version__, django.__version__, platform.python_version(), server)
        yield catalogue.BUILD_INFO, versions, 1

    def counted(self) -> Iterator[Sample]:
        self._all.recorder.flush()
        totals = self._all.recorder.totals
        counters, histograms = totals.copy()
        for (name, labels), value in counters.items():
            yield totals.metrics[name], labels, value
        for (name, labels), histogram in histograms.items():
            yield totals.metrics[name], labels, histogram


def registry_of(collector: PartisanCollector, on_error: OnError) -> CollectorRegistry:
    """Return a registry of its own with ``collector`` and those of process, platform and GC."""
    registry = CollectorRegistry()
    registry.register(collector)
    nowhere = CollectorRegistry()  # each registers itself, so first where it does no harm
    for kind in (ProcessCollector, PlatformCollector, GCCollector):
        registry.register(Guarded(kind(registry=nowhere), on_error))
    return registry
