"""The figures that are counted, their scenarios, and their margins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

EVERYWHERE: Final = "any"


class Environment(NamedTuple):
    """The versions that some figures depend on, such as `3.11` and `5.2`."""

    python: str
    django: str
    postgresql: str


@dataclass(frozen=True)
class Figure:
    """A counted figure; `margin` is the fraction by which it may differ from its budget.

    `depends_on` names fields of the environment. The figure has a separate budget for each of their values.
    """

    title: str
    margin: float
    depends_on: tuple[str, ...] = ()

    def environment(self, found: Environment) -> str:
        """Return the environment that the figure's budget is for."""
        titles = {"python": "Python", "django": "Django", "postgresql": "PostgreSQL"}
        return ", ".join(f"{titles[name]} {getattr(found, name)}" for name in self.depends_on) or EVERYWHERE


_CODE: Final = ("python", "django")

FIGURES: Final[Mapping[str, Figure]] = {
    "statements": Figure("SQL statements", 0.02),
    "commits": Figure("commits that wrote", 0.02),
    "wal_bytes": Figure("WAL bytes", 0.02, ("postgresql",)),
    "to_workers": Figure("messages to workers", 0.02),
    "to_manager": Figure("messages to the manager", 0.02),
    "wakeups": Figure("wakeups of the manager's loop", 0.02),
    "instructions_manager": Figure("Python instructions of the manager", 0.02, _CODE),
    "instructions_worker": Figure("Python instructions of the workers", 0.02, _CODE),
    "instructions_caller": Figure("Python instructions of the caller", 0.02, _CODE),
}

SCENARIOS: Final[Mapping[str, str]] = {
    "drain_default": "drain, default sizes",
    "drain_tuned": "drain, tuned sizes",
    "latency": "one task after the other",
    "delay": "delay()",
    "delay_unique": "delay(), unique",
    "bulk_delay": "bulk_delay()",
    "bulk_delay_unique": "bulk_delay(), unique",
}

TASKS: Final[Mapping[str, int]] = {
    "drain_default": 1_000,
    "drain_tuned": 10_000,
    "latency": 100,
    "delay": 200,
    "delay_unique": 200,
    "bulk_delay": 5_000,
    "bulk_delay_unique": 5_000,
}
"""The number of tasks of each scenario."""

VARIANTS: Final[Mapping[str, tuple[str, ...]]] = {
    "default": ("drain_default",),
    "tuned": ("delay", "bulk_delay", "latency", "drain_tuned"),
    "unique": ("delay_unique", "bulk_delay_unique"),
}
"""The scenarios that run in one process, by the variant with their settings; callers come first."""

Counts: TypeAlias = Mapping[str, Mapping[str, float]]
"""Counts per task, by scenario and figure."""
