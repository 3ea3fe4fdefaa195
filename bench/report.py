"""Tables of medians, with the spread and the ratio to the best other subject beside them."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.measurement import Measurement


@dataclass(frozen=True)
class Column:
    """One column: its name in the figures, its heading, and whether the spread is shown."""

    key: str
    heading: str
    spread: bool = False


@dataclass(frozen=True)
class Shape:
    """How one scenario's table looks; the first column decides the order and the ratio."""

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
    "limit": Shape("pgbench: claim and delete in batches", (Column("rate", "rows/s", spread=True),)),
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


def tables(measurements: Sequence[Measurement]) -> str:
    """Return a Markdown table for each scenario, size and condition."""
    kinds = dict.fromkeys((m.scenario, m.tasks, m.conditions) for m in measurements)
    limit = [m for m in measurements if m.scenario == "limit" and not m.error]
    parts = []
    for scenario, tasks, conditions in kinds:
        chosen = [
            m for m in measurements if (m.scenario, m.tasks, m.conditions) == (scenario, tasks, conditions)
        ]
        parts.append(_table(scenario, tasks, conditions, chosen, limit if scenario == "drain" else []))
    return "\n".join(parts)


def _table(
    scenario: str,
    tasks: int,
    conditions: str,
    measurements: Sequence[Measurement],
    limit: Sequence[Measurement],
) -> str:
    shape = SHAPES[scenario]
    lead = shape.columns[0]
    by_subject: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        by_subject.setdefault(measurement.subject, []).append(measurement)
    good = {subject: [m for m in found if not m.error] for subject, found in by_subject.items()}
    medians = {subject: m for subject, found in good.items() if (m := _median(found, lead)) is not None}
    reference = _reference(medians, shape.is_higher_better)
    roof = _median(limit, SHAPES["limit"].columns[0])
    headings = ["subject", "reps", *(column.heading for column in shape.columns)]
    headings += [f"ratio to {reference}", *(["of pgbench"] if roof else []), "load"]
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for subject in sorted(medians, key=lambda name: medians[name], reverse=shape.is_higher_better):
        found = good[subject]
        cells = [subject, str(len(found)), *(_cell(found, column) for column in shape.columns)]
        cells.append(f"{medians[subject] / medians[reference]:.2f}" if medians[reference] else "-")
        cells += [f"{medians[subject] / roof:.2f}"] if roof else []
        cells.append(_span([m.load for m in found]))
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"\n{m.subject}, repetition {m.repetition + 1}: {m.error}" for m in measurements if m.error]
    title = ", ".join(filter(None, [shape.title, f"{tasks:,}" if tasks else "", conditions]))
    return f"\n## {title}\n\n" + "\n".join(lines) + "\n"


def _reference(medians: dict[str, float], is_higher_better: bool) -> str:
    peers = [name for name in medians if not name.startswith(("partisan2:", "ceiling:"))]
    if not peers:
        return "partisan2:tuned" if "partisan2:tuned" in medians else next(iter(medians), "-")
    best = max if is_higher_better else min
    return best(peers, key=lambda name: medians[name])


def _median(found: Iterable[Measurement], column: Column) -> float | None:
    values = [value for m in found if (value := m.figures.get(column.key)) is not None]
    return statistics.median(values) if values else None


def _cell(found: Sequence[Measurement], column: Column) -> str:
    values = [value for m in found if (value := m.figures.get(column.key)) is not None]
    if not values:
        return "-"
    text = _number(statistics.median(values))
    return f"{text} ({_span(values)})" if column.spread and len(values) > 1 else text


def _span(values: Sequence[float]) -> str:
    low, high = _number(min(values)), _number(max(values))
    return low if low == high else f"{low} to {high}"


def _number(value: float) -> str:
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return "0" if value == 0 else f"{value:.2f}"
