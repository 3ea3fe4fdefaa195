"""Run one row: a site under load, the fault, its alerts, the recovery, and the end of all alerts."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.real_parts.game_day.control_room import ControlRoom, TooLate
from tests.real_parts.game_day.site import site
from tests.real_parts.game_day.verdict import FIRING, Observation, Row, problems

# Counted in evaluations of the rules.
HEALTHY: Final = 22
"""Longer than a window, so that rates have a history when the fault begins."""
FIRED_WITHIN: Final = 60
WATCHED_ON: Final = 10
"""Between the alerts and the recovery, so that the consequences of the fault can fire, too."""
QUIET: Final = 30
"""How long a fault that must raise no alert lasts."""
RESOLVED_WITHIN: Final = 120


@dataclass(frozen=True)
class Result:
    """The result of a row."""

    row: Row
    problems: tuple[str, ...]
    seen: Observation | None = None


def carry_out(row: Row, room: ControlRoom, folder: Path) -> Result:
    """Run a row in its own folder, and return the verdict on it."""
    with site(row.name, folder, room.prometheus, row.options) as one:
        room.let_pass(HEALTHY)
        began_at = time.monotonic()
        with row.inject(one):
            injected_at = time.monotonic()
            _watch(row, room, one.job)
            recovered_at = time.monotonic()
        still_firing = _wait_for_silence(room, one.job)
        seen = Observation(
            began_at=began_at,
            injected_at=injected_at,
            recovered_at=recovered_at,
            received=tuple(room.received(one.job)),
            log=one.log(),
            still_firing=frozenset(still_firing),
        )
    (folder / "received.json").write_text(json.dumps(seen.received, indent=1))
    return Result(row, tuple(problems(row, seen)), seen)


def _watch(row: Row, room: ControlRoom, job: str) -> None:
    """Wait for the row's alerts, then for further ones; the verdict reports missing alerts."""
    if not row.alerts:
        room.let_pass(QUIET)
        return

    def have_fired() -> bool:
        fired = {one["labels"]["alertname"] for one in room.received(job) if one["status"] == FIRING}
        return fired.issuperset(row.alerts)

    try:
        room.wait(have_fired, FIRED_WITHIN, lambda: ", ".join(row.alerts))
    except TooLate:
        return  # the verdict names the alerts that did not fire
    room.let_pass(WATCHED_ON)


def _wait_for_silence(room: ControlRoom, job: str) -> set[str]:
    """Wait until no alert of a job is open; return the names of those that are still open at the limit."""
    try:
        room.wait(lambda: not _open(room, job), RESOLVED_WITHIN, lambda: ", ".join(_open(room, job)))
    except TooLate:
        return _open(room, job)
    return set()


def _open(room: ControlRoom, job: str) -> set[str]:
    """Return the alerts that fire or are pending, or whose latest notification says that they fire."""
    latest = {frozenset(one["labels"].items()): one for one in room.received(job)}
    notified = {one["labels"]["alertname"] for one in latest.values() if one["status"] == FIRING}
    return room.firing(job) | notified
