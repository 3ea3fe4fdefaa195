"""Schedules as text for people: lines that fit the width, without control characters."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from django_partisan.formatting import duration_text, moment, printable
from django_partisan.management.schedules.report import NEW, ScheduleStatus
from django_partisan.models import Schedule

WIDTH: Final = 80

_ROW: Final = "{:<21} {:<18} {:<19} {:<19}"
_TITLES: Final = ("Schedule", "When", "Next tick", "Last tick")


def as_text(schedules: Iterable[ScheduleStatus], width: int = WIDTH) -> list[str]:
    """Return the schedules as lines of at most ``width`` characters."""
    lines = [line for status in schedules for line in _schedule(status)]
    if not lines:
        return ["There are no schedules."]
    return [printable(line)[:width] for line in (_ROW.format(*_TITLES), *lines)]


def _schedule(status: ScheduleStatus) -> Iterator[str]:
    definition, row = status.definition, status.row
    when = definition.cron or f"every {duration_text(definition.every or 0)}"
    next_tick = _to_the_second(status.next_at) or status.state
    yield _ROW.format(definition.name, when, next_tick, _to_the_second(status.last_at) or "-")
    yield "  " + ", ".join(filter(None, (definition.task, f"from {status.origin}", definition.time_zone)))
    if status.last:
        yield "  last: " + ", ".join(_last_tick(status))
    if status.state == NEW:
        yield "  no manager has seen it yet"
    if status.state == Schedule.STATE_STOPPED:
        yield "  no live manager has it in its settings"
    if status.hides_settings:
        yield "  the settings also define this schedule; this row, created by hand, is used"
    if row is not None and row.paused:
        yield f"  paused: {row.comment}" if row.comment else "  paused"
    if row is not None and row.error:
        yield f"  error: {row.error}"


def _last_tick(status: ScheduleStatus) -> Iterator[str]:
    yield str(status.last.get("outcome"))
    if status.last.get("task") is not None:
        yield f"task {status.last['task']}"
    if "ended" in status.last:
        yield str(status.last["ended"])


def _to_the_second(stored: datetime | None) -> str:
    """Return a moment in local time, without the name of the zone."""
    return "" if stored is None else moment(stored)[:19]
