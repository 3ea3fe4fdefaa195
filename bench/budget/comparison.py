"""Compare the counts with the budgets, and report which figures grew, shrank or were lost."""

import math
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

from bench.budget.budget_file import Budget, Key, shown
from bench.budget.figures import EVERYWHERE, FIGURES, SCENARIOS, TASKS

ROUNDING = 0.05
"""Allowance for the rounding of budgets in the file, as a fraction of one count in the whole scenario."""
SAME = 0.001
"""Counts with a smaller relative difference are equal; bytes of WAL vary by this much anyway."""


class Verdict(Enum):
    """The result of comparing a count with its budget."""

    WITHIN = "within its budget"
    GREW = "GREW"
    SHRANK = "shrank"
    NEW = "no budget yet"
    GONE = "no longer counted"
    LOST = "LOST, nothing was counted"


class Line(NamedTuple):
    """One figure of one scenario; a missing value is `nan`."""

    key: Key
    budget: float
    found: float

    @property
    def ratio(self) -> float:
        """The count divided by its budget; 1 if both are 0."""
        if self.budget:
            return self.found / self.budget
        return 1.0 if self.found == 0 else math.inf

    @property
    def verdict(self) -> Verdict:
        """The result of the comparison. A difference of one in the whole scenario is within the budget."""
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
    """Return a line per figure that was counted or has a budget, for the scenario and environment."""
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
    """Return the text to print and the exit code: 1 if a figure grew, was lost or is no longer counted."""
    lines = list(lines)
    of = {verdict: [line for line in lines if line.verdict is verdict] for verdict in Verdict}
    text = [str(line) for line in lines]
    if of[Verdict.GREW]:
        text += ["", f"{len(of[Verdict.GREW])} of {len(lines)} figures grew:", *map(str, of[Verdict.GREW])]
        text.append("If the change is worth it, explain why in the commit, and run: make budget UPDATE=yes")
    if of[Verdict.SHRANK]:
        text += ["", f"{len(of[Verdict.SHRANK])} shrank:", *map(str, of[Verdict.SHRANK])]
        text.append("To keep the gain, run: make budget UPDATE=yes")
    if lost := of[Verdict.LOST] + of[Verdict.GONE]:
        text += ["", f"{len(lost)} of {len(lines)} figures lost or no longer counted:", *map(str, lost)]
        text.append("Correct the counter; if there is nothing left to count, run: make budget UPDATE=yes")
    if of[Verdict.NEW]:
        text += ["", "Some figures have no budget here; run: make budget UPDATE=yes"]
    if all(line.verdict is Verdict.WITHIN for line in lines):
        text += ["", f"All {len(lines)} figures are within their budgets."]
    return "\n".join(text), int(bool(of[Verdict.GREW] or lost))


def updated(budget: Budget, found: Budget) -> dict[Key, float]:
    """Return the budgets updated with the counts; those of other environments are kept.

    A budget that differs by less than `SAME` is kept, too, so that a diff shows only real changes.
    """
    lines = compare(budget, found)
    gone = {line.key for line in lines if line.verdict is Verdict.GONE}
    same = {line.key: line.budget for line in lines if abs(line.ratio - 1) < SAME}
    return {**{key: value for key, value in budget.items() if key not in gone}, **found, **same}
