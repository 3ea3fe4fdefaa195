"""Read and write the file of budgets, a table in Markdown that `make budget UPDATE=yes` updates."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from bench.budget.figures import FIGURES, SCENARIOS, Counts, Environment

PATH: Final = Path(__file__).with_name("budget.md")

_HEAD: Final = """\
# What a task may cost

Work per task, counted by `make budget`; `make budget UPDATE=yes` writes this table.
A figure that depends on versions has a row for each environment in which it was counted.

| scenario | figure | environment | per task |
| --- | --- | --- | --- |
"""
_COLUMNS: Final = 4


class Key(NamedTuple):
    """The scenario, figure and environment of a budget."""

    scenario: str
    figure: str
    environment: str


Budget: TypeAlias = Mapping[Key, float]


class BadBudget(Exception):
    """The file has an invalid line; the message names the line and the remedy."""


def read(path: Path = PATH) -> dict[Key, float]:
    """Return the budgets, none if there is no file. Raise `BadBudget` for an invalid line."""
    if not path.exists():
        return {}
    scenarios, figures = _by_title(SCENARIOS), _by_title({key: one.title for key, one in FIGURES.items()})
    found: dict[Key, float] = {}
    for number, line in enumerate(path.read_text().splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or cells[0] in ("scenario", "---"):
            continue
        try:
            scenario, figure, environment, value = cells
            found[Key(scenarios[scenario], figures[figure], environment)] = float(value.replace(",", ""))
        except (ValueError, KeyError) as error:
            raise BadBudget(
                f"{path.name}, line {number}: {error} is not understood; expected {_COLUMNS} columns as in "
                "the other lines. Correct the line, or remove it and run: make budget UPDATE=yes"
            ) from error
    return found


def write(budget: Budget, path: Path = PATH) -> None:
    """Write the budgets, ordered by scenario and figure."""
    scenarios, figures = list(SCENARIOS), list(FIGURES)
    ordered = sorted(
        budget.items(),
        key=lambda item: (scenarios.index(item[0].scenario), figures.index(item[0].figure), item[0]),
    )
    lines = [
        f"| {SCENARIOS[key.scenario]} | {FIGURES[key.figure].title} | {key.environment} | {shown(value)} |"
        for key, value in ordered
    ]
    path.write_text(_HEAD + "".join(line + "\n" for line in lines))


def keyed(counts: Counts, environment: Environment) -> dict[Key, float]:
    """Return counts as budgets."""
    return {
        Key(scenario, figure, FIGURES[figure].environment(environment)): value
        for scenario, figures in counts.items()
        for figure, value in figures.items()
    }


def shown(value: float) -> str:
    """Return a count with four significant digits, as the file and the report show it."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _by_title(titles: Mapping[str, str]) -> dict[str, str]:
    return {title: key for key, title in titles.items()}
