"""Tables of medians, with the spread and the ratio to the best other subject."""

import statistics
from collections.abc import Mapping, Sequence

from bench.cells import cell, span
from bench.grouping import Group, groups, reference, values_of
from bench.measurement import Measurement
from bench.pgbench import comparisons


def tables(measurements: Sequence[Measurement]) -> str:
    """Return a Markdown table for each scenario, size and condition."""
    found = list(groups(measurements))
    limits = [group for group in found if group.scenario == "limit"]
    rates = {case: rate for group in limits for case, rate in group.ranked(group.shape.columns[0]).items()}
    return "\n".join(_table(group, rates) for group in found)


def _table(group: Group, rates_of_pgbench: Mapping[str, float]) -> str:
    shape, medians = group.shape, group.ranked(group.shape.columns[0])
    base = reference(medians)
    roofs = [
        (one.column, one.case, rates_of_pgbench[one.case])
        for one in comparisons(group.scenario, group.tasks)
        if one.case in rates_of_pgbench
    ]
    headings = ["subject", "reps", *(column.heading for column in shape.columns), f"ratio to {base}"]
    headings += [f"of {case}" for _, case, _ in roofs] + ["load"]
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for subject, median in medians.items():
        found = group.by_subject[subject]
        cells = [subject, str(len(found))]
        cells += [cell(values_of(found, column.key), column.spread) for column in shape.columns]
        cells.append(f"{median / medians[base]:.2f}" if medians[base] else "-")
        cells += [_share(values_of(found, column), roof) for column, _, roof in roofs]
        cells.append(span([m.load for m in found]))
        lines.append("| " + " | ".join(cells) + " |")
    lines += [f"\n{m.subject}, repetition {m.repetition + 1}: {m.error}" for m in group.failed]
    return f"\n## {group.title}\n\n" + "\n".join(lines) + "\n"


def _share(values: Sequence[float], roof: float) -> str:
    return f"{statistics.median(values) / roof:.2f}" if values else "-"
