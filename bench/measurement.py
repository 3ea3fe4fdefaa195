"""Measurements, from the benchmarks' own runner or from the peers' harness."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


class Failed(Exception):
    """A measurement failed, so there are no figures."""


@dataclass
class Measurement:
    """The figures of one repetition, or its error."""

    scenario: str
    subject: str
    tasks: int
    repetition: int
    at: float
    load: float
    conditions: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)
    error: str | None = None

    @property
    def is_ours(self) -> bool:
        """Whether this is django-partisan 2 and not a peer."""
        return self.subject.startswith("partisan2:")

    @property
    def tasks_run(self) -> int:
        """How many tasks ran, if the scenario counts them."""
        return int(self.figures.get("ran") or self.figures.get("got") or 0)


def append(path: Path, measurements: Iterable[Measurement]) -> None:
    """Add measurements to a file of JSON lines."""
    with open(path, "a") as file:
        for measurement in measurements:
            file.write(json.dumps(asdict(measurement)) + "\n")


def of_harness(row: dict[str, Any]) -> Measurement:
    """Return a measurement from a line of the peers' results file."""
    return Measurement(
        scenario=row["scenario"],
        subject=row["peer"],
        tasks=row.get("n_arg") or 0,
        repetition=row.get("rep") or 0,
        at=row["t"],
        load=row["load"],
        conditions=f"beside {row['retain_arg']:,} finished" if row.get("retain_arg") else "",
        figures={name: _number(value) for name, value in (row.get("result") or {}).items()},
        error=row.get("error"),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
