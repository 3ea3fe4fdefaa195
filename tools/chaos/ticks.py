"""Is each tick of a schedule enqueued once, and accounted for?

The row of a schedule counts its ticks by outcome. They follow each other in a grid, so their number follows
from the first and the last one, whoever was killed and whatever was cut off meanwhile.
"""

from collections.abc import Iterator
from typing import Any, Final

from .evidence import Evidence
from .violation import Violation

SCHEDULES: Final[dict[str, dict[str, Any]]] = {
    "each second": {"task": "Ticked", "args": ["each second"], "every": 1},
    "each second, all": {"task": "Ticked", "args": ["each second, all"], "every": 1, "catch_up": "all"},
    "each minute": {"task": "Ticked", "args": ["each minute"], "cron": "* * * * *", "catch_up": "all"},
}
"""The setting of the managers."""
ENDED_SECONDS = 10.0
"""So long, at most, before the rows are read have managers ended: what came due since is not enqueued."""
_MINUTE: Final = 60
_SECONDS: Final = {name: setting.get("every", _MINUTE) for name, setting in SCHEDULES.items()}
"""From tick to tick; the only cron text names every minute."""


def no_tick_is_enqueued_twice(evidence: Evidence) -> Iterator[Violation]:
    """The tasks of a tick are one task, however often it ran."""
    tasks: dict[tuple[str, str], set[int]] = {}
    for tick in evidence.ticks:
        tasks.setdefault((tick.schedule, tick.scheduled_for), set()).add(tick.id)
    for (schedule, moment), ids in tasks.items():
        if len(ids) > 1:
            yield Violation("ticks", f"{schedule}: {len(ids)} tasks for {moment}: {sorted(ids)}")


def ticks_add_up(evidence: Evidence) -> Iterator[Violation]:
    """Every schedule has ticked until the managers ended, and every tick has one outcome."""
    for name in SCHEDULES.keys() - {row.name for row in evidence.schedules}:
        yield Violation("ticks", f"{name} has no row")
    for row in evidence.schedules:
        if row.late > ENDED_SECONDS:
            yield Violation("ticks", f"{row.name} has not ticked for {row.late:.1f} s")
        if row.last_at is None:
            continue
        every = _SECONDS[row.name]
        expected = row.last_at // every - row.defined_at // every
        if sum(row.totals.values()) != expected:
            yield Violation("ticks", f"{row.name}: {row.totals} are not {expected:g} ticks")
        seen = len({tick.scheduled_for for tick in evidence.ticks if tick.schedule == row.name})
        if seen > row.totals.get("enqueued", 0):
            yield Violation("ticks", f"{row.name}: {seen} ticks have run, but {row.totals} were enqueued")
