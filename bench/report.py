"""Tables of medians, with the spread and the ratio to the best other subject beside them."""

import statistics
from collections.abc import Sequence

from bench.grouping import Column, Group, best_peer, groups, values_of
from bench.measurement import Measurement


def tables(measurements: Sequence[Measurement]) -> str:
    """Return a Markdown table for each scenario, size and condition."""
    found = list(groups(measurements))
    limits = [group for group in found if group.scenario == "limit"]
    return "\n".join(_table(group, limits) for group in found)


def _table(group: Group, limits: Sequence[Group]) -> str:
    shape, medians = group.shape, group.ranked(group.shape.columns[0])
    reference = best_peer(medians)
    shares = _of_pgbench(group, limits)
    headings = ["subject", "reps", *(column.heading for column in shape.columns), f"ratio to {reference}"]
    headings += [f"of {case}" for _, case, _ in shares] + ["load"]
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for subject in medians:
        found = group.by_subject[subject]
        cells = [
            subject,
            str(len(found)),
            *(_cell(values_of(found, column), column) for column in shape.columns),
        ]
        cells.append(f"{medians[subject] / medians[reference]:.2f}" if medians[reference] else "-")
        for column, _, roof in shares:
            values = values_of(found, column)
            cells.append(f"{statistics.median(values) / roof:.2f}" if values else "-")
        cells.append(_span([m.load for m in found]))
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"\n{m.subject}, repetition {m.repetition + 1}: {m.error}" for m in group.failed]
    return f"\n## {group.title}\n\n" + "\n".join(lines) + "\n"


def _of_pgbench(group: Group, limits: Sequence[Group]) -> list[tuple[Column, str, float]]:
    """Return which figures are compared with which case of pgbench, and its rate."""
    compared = {
        "drain": [(0, "update+delete")],
        "enqueue": [(0, "insert n=1 "), (1, "insert n=1000")],
    }.get(group.scenario, [])
    shares = []
    for number, prefix in compared:
        for limit in limits:
            for case, rate in limit.ranked(limit.shape.columns[0]).items():
                if f"{case} ".startswith(prefix):
                    shares.append((group.shape.columns[number], case, rate))
    return shares


def _cell(values: Sequence[float], column: Column) -> str:
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
