"""What the companions of `metrics` and `full` saw: whether everything that was told arrived."""

import json
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LATEST_NOTE_SECONDS = 1.0
"""How long a companion may take to write its note once the process it watched is gone."""


def summary(folder: Path, tasks_run: Mapping[str, int]) -> str:
    """Return a line for each variant that was watched; `tasks_run` counts its tasks over all drains."""
    seen: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        note = json.loads(path.read_text())
        seen.setdefault(note["name"], []).append(note)
    return "\n".join(_line(name, notes, tasks_run.get(name, 0)) for name, notes in seen.items())


def _line(name: str, notes: list[dict[str, Any]], tasks: int) -> str:
    scrapes = [seconds for note in notes for seconds in note["scrapes"]]
    parts = [f"{len(scrapes)} scrapes, {sum(note['scrapes_failed'] for note in notes)} failed"]
    if scrapes:
        parts.append(f"p50 {1000 * statistics.median(scrapes):.1f} ms, max {1000 * max(scrapes):.1f} ms")
    spans = sum(note["spans"] for note in notes)
    lines = sum(note["log_lines"] for note in notes)
    if spans or lines:
        size = sum(note["log_bytes"] for note in notes) / max(1, lines)
        parts.append(
            f"{spans:,} process spans and {lines:,} log lines of {size:.0f} bytes for {tasks:,} tasks"
        )
    return f"{name}: " + "; ".join(parts)
