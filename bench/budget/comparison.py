"""Compare what was counted with the budgets, and say which figures grew, shrank or are lost."""

import math
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from bench.budget.budget_file import Budget, Key, shown
from bench.budget.figures import EVERYWHERE, FIGURES, SCENARIOS, TASKS

ROUNDING = 0.05
"""Of the budgets in the file, in units of one in a scenario."""
SAME = 0.001
"""Two counts that differ by a smaller part are the same; bytes of WAL differ by as much by themselves."""


class Verdict(Enum):
    """How a count stands to its budget."""

    WITHIN = "within its budget"
    GREW = "GREW"
    SHRANK = "shrank"
    NEW = "no budget yet"
    GONE = "no longer counted"
    LOST = "LOST, nothing was counted"


class Line(NamedTuple):
    """One figure of one scenario; what is missing is `nan`."""

    key: Key
    budget: float
    found: float

    @property
    def ratio(self) -> float:
        """Return found to budget; 1 where both are 0."""
        if self.budget:
            return self.found / self.budget
        return 1.0 if self.found == 0 else math.inf

    @property
    def verdict(self) -> Verdict:
        """Return how the count stands to its budget; one more or less in the whole scenario is within it."""
        if math.isnan(self.budget):
            return Verdict.NEW
        if math.isnan(self.found):
            return Verdict.GONE
        if self.budget > 0 and self.found == 0:
            return Verdict.LOST
        one_more = (1 + ROUNDING) / TASKS[self.key.scenario]
        margin = max(FIGURES[self.key.figure].margin * self.budget, one_more)
        if abs(self.found - self.budget) <= margin:
            return Verdict.WITHIN
        return Verdict.GREW if self.found > self.budget else Verdict.SHRANK

    def __str__(self) -> str:
        figure, scenario = FIGURES[self.key.figure], SCENARIOS[self.key.scenario]
        if self.verdict in (Verdict.NEW, Verdict.GONE):
            value = self.found if self.verdict is Verdict.NEW else self.budget
            of = f"{self.verdict.value} for {self.key.environment}: {shown(value)}"
            return f"{scenario}: {figure.title}: {of}"
        return (
            f"{scenario}: {figure.title}: budget {shown(self.budget)}, found {shown(self.found)}, "
            f"ratio {self.ratio:.3f}, margin {figure.margin:.0%}: {self.verdict.value}"
        )


def compare(budget: Budget, found: Budget) -> list[Line]:
    """Return a line for each figure that was counted, or has a budget for that scenario and environment."""
    scenarios = {key.scenario for key in found}
    environments = {EVERYWHERE, *(key.environment for key in found)}
    lines = [Line(key, budget.get(key, math.nan), value) for key, value in found.items()]
    lines += [
        Line(key, value, math.nan)
        for key, value in budget.items()
        if key not in found and key.scenario in scenarios and key.environment in environments
    ]
    return lines


def report(lines: Iterable[Line]) -> tuple[str, int]:
    """Return what to print, and the exit code: 1 if a figure grew, is lost or is no longer counted."""
    lines = list(lines)
    of = {verdict: [line for line in lines if line.verdict is verdict] for verdict in Verdict}
    text = [str(line) for line in lines]
    if of[Verdict.GREW]:
        text += ["", f"{len(of[Verdict.GREW])} of {len(lines)} figures grew:", *map(str, of[Verdict.GREW])]
        text.append("If that is worth it, say why in the commit that contains: make budget UPDATE=yes")
    if of[Verdict.SHRANK]:
        text += ["", f"{len(of[Verdict.SHRANK])} shrank:", *map(str, of[Verdict.SHRANK])]
        text.append("Keep the gain: make budget UPDATE=yes")
    if lost := of[Verdict.LOST] + of[Verdict.GONE]:
        text += ["", f"{len(lost)} of {len(lines)} figures lost or no longer counted:", *map(str, lost)]
        text.append("Correct the counter; if there is nothing left to count: make budget UPDATE=yes")
    if of[Verdict.NEW]:
        text += ["", "Some figures have no budget here: make budget UPDATE=yes"]
    if all(line.verdict is Verdict.WITHIN for line in lines):
        text += ["", f"All {len(lines)} figures are within their budgets."]
    return "\n".join(text), int(bool(of[Verdict.GREW] or lost))


def updated(budget: Budget, found: Budget) -> dict[Key, float]:
    """Return the budgets with those found in their place; those of other environments stay.

    A budget that differs by less than `SAME` stays as well, so that a change shows what it changed.
    """
    lines = compare(budget, found)
    gone = {line.key for line in lines if line.verdict is Verdict.GONE}
    same = {line.key: line.budget for line in lines if abs(line.ratio - 1) < SAME}
    return {**{key: value for key, value in budget.items() if key not in gone}, **found, **same}
