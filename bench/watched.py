"""Read the notes of the companions of `metrics` and `full`, and check that all telemetry arrived."""

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.variant import Variant, environments

LATEST_NOTE_SECONDS = 1.0
"""How long a companion may take to write its note after the watched process ended."""


@dataclass(frozen=True)
class VariantTelemetry:
    """The telemetry of one variant in all its runs; `tasks` is the number of tasks it ran."""

    name: str
    tasks: int
    scrapes: list[float]
    scrapes_failed: int
    spans: int
    log_lines: int
    log_bytes: int

    def __str__(self) -> str:
        parts = [f"{len(self.scrapes)} scrapes, {self.scrapes_failed} failed"]
        if self.scrapes:
            median, longest = 1000 * statistics.median(self.scrapes), 1000 * max(self.scrapes)
            parts.append(f"p50 {median:.1f} ms, max {longest:.1f} ms")
        if Variant.from_environment(environments()[self.name]).full:
            size = self.log_bytes / max(1, self.log_lines)
            logged = f"{self.log_lines:,} log lines of {size:.0f} bytes"
            parts.append(f"{self.spans:,} process spans and {logged} for {self.tasks:,} tasks")
        return f"{self.name}: " + "; ".join([*parts, *self.missing()])

    def missing(self) -> list[str]:
        """Return a warning for each kind of telemetry that never arrived; the figures are then invalid."""
        variant = Variant.from_environment(environments()[self.name])
        came = {"scrape": bool(self.scrapes), "span": bool(self.spans), "log line": bool(self.log_lines)}
        wanted = ["scrape"] * variant.metrics + ["span", "log line"] * variant.full
        return [f"NOT ONE {kind.upper()}: the figures are invalid" for kind in wanted if not came[kind]]


def read_telemetry(folder: Path, tasks_run: Mapping[str, int]) -> list[VariantTelemetry]:
    """Read the notes of all companions; `tasks_run` counts each variant's tasks over all its runs."""
    notes: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        note = json.loads(path.read_text())
        notes.setdefault(note["name"], []).append(note)
    return [
        VariantTelemetry(
            name,
            tasks_run.get(name, 0),
            [seconds for note in found for seconds in note["scrapes"]],
            *(
                sum(note[key] for note in found)
                for key in ("scrapes_failed", "spans", "log_lines", "log_bytes")
            ),
        )
        for name, found in notes.items()
    ]
