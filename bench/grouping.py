"""Group the measurements of one run into tables and charts."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.measurement import Measurement

OURS, CEILING = "partisan2:", "ceiling:"


@dataclass(frozen=True)
class Column:
    """One column: its name in the figures, its heading, and whether the spread is shown."""

    key: str
    heading: str
    spread: bool = False


@dataclass(frozen=True)
class Shape:
    """The columns of a scenario. The first one decides the order and the ratio."""

    title: str
    columns: Sequence[Column]
    is_higher_better: bool = True


DRAIN = (
    Column("rate", "tasks/s, first to last", spread=True),
    Column("rate_settled", "to settled"),
    Column("cpu_worker_us", "worker CPU us/task"),
    Column("cpu_server_us", "server CPU us/task"),
    Column("startup_s", "start-up s"),
    Column("pss", "PSS MiB"),
    Column("nproc", "processes"),
    Column("ran", "ran"),
    Column("lost", "lost"),
    Column("dup", "twice"),
    Column("foreign_cpu", "foreign CPU"),
)
SHAPES = {
    "limit": Shape("pgbench: the same work without a queue", (Column("rate", "rows/s", spread=True),)),
    "drain": Shape("Drain of no-op tasks", DRAIN),
    "sleep": Shape("Drain of tasks that sleep 5 ms, two at a time (ideal 400/s)", DRAIN),
    "latency": Shape(
        "Latency, enqueue returned to body start, idle, ms",
        (
            Column("p50", "p50", spread=True),
            Column("p95", "p95"),
            Column("p99", "p99", spread=True),
            Column("max", "max"),
            Column("got", "got"),
            Column("enqueue_p50", "enqueue call p50"),
        ),
        is_higher_better=False,
    ),
    "enqueue": Shape(
        "Enqueue, one producer",
        (
            Column("one", "one by one /s", spread=True),
            Column("bulk", "bulk /s", spread=True),
            Column("one_cpu_us", "CPU us, one"),
            Column("bulk_cpu_us", "CPU us, bulk"),
        ),
    ),
    "idle": Shape(
        "Idle",
        (
            Column("cpu_worker_min", "worker CPU s/min", spread=True),
            Column("queries_s", "statements/s"),
            Column("xacts_s", "transactions/s"),
            Column("cpu_server_min", "server CPU s/min"),
            Column("pss", "PSS MiB", spread=True),
            Column("rss", "RSS MiB"),
            Column("nproc", "processes"),
        ),
        is_higher_better=False,
    ),
}


@dataclass(frozen=True)
class Group:
    """The measurements of one scenario, size and condition; ``by_subject`` has those without an error."""

    scenario: str
    tasks: int
    conditions: str
    by_subject: Mapping[str, Sequence[Measurement]]
    failed: Sequence[Measurement]

    @property
    def shape(self) -> Shape:
        """The columns of this scenario."""
        return SHAPES[self.scenario]

    @property
    def title(self) -> str:
        """The heading of the table and the chart."""
        size = f"{self.tasks:,}" if self.tasks else ""
        return ", ".join(filter(None, [self.shape.title, size, self.conditions]))

    def ranked(self, column: Column) -> dict[str, float]:
        """Return the median of each subject that has the figure, ordered from best to worst."""
        found = {name: values_of(ms, column.key) for name, ms in self.by_subject.items()}
        medians = {name: statistics.median(values) for name, values in found.items() if values}
        best_first = sorted(medians, key=lambda name: medians[name], reverse=self.shape.is_higher_better)
        return {name: medians[name] for name in best_first}


def groups(measurements: Sequence[Measurement]) -> Iterator[Group]:
    """Yield the groups in the order of measurement."""
    kinds = dict.fromkeys((m.scenario, m.tasks, m.conditions) for m in measurements)
    for kind in kinds:
        chosen = [m for m in measurements if (m.scenario, m.tasks, m.conditions) == kind]
        by_subject: dict[str, list[Measurement]] = {}
        for measurement in chosen:
            if not measurement.error:
                by_subject.setdefault(measurement.subject, []).append(measurement)
        yield Group(*kind, by_subject, [m for m in chosen if m.error])


def values_of(measurements: Sequence[Measurement], key: str) -> list[float]:
    """Return the values of a figure, of all repetitions that have it."""
    return [value for m in measurements if (value := m.figures.get(key)) is not None]


def reference(ranked: Mapping[str, float]) -> str:
    """Return the subject that ratios refer to: the best other queue, or ``tuned`` without peers."""
    peers = [name for name in ranked if not name.startswith((OURS, CEILING))]
    if peers:
        return peers[0]
    return "partisan2:tuned" if "partisan2:tuned" in ranked else next(iter(ranked), "-")
