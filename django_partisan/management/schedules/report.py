"""The schedules: rows of the table, and those of the settings that no manager has seen."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any

from django.utils.dateparse import parse_datetime

from django_partisan.config.schedule_keys import KEYS
from django_partisan.exceptions import UnknownSchedule
from django_partisan.models import Schedule
from django_partisan.schedules.configured import configured
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.sql.connection import task_connection


@dataclass(frozen=True)
class ScheduleStatus:
    """One schedule: what it is, and its row, which is ``None`` as long as no manager has seen it."""

    definition: ScheduleDefinition
    row: Schedule | None
    hides_settings: bool = False
    """Whether the settings have a schedule of this name, which is not used, because this row has it."""

    @property
    def state(self) -> str:
        """``active``, ``paused``, ``stopped`` (no live manager lists it) or ``new`` (no manager has)."""
        if self.row is None:
            return "new"
        if self.row.stopped_at is not None:
            return "stopped"
        return "paused" if self.row.paused else "active"

    @property
    def origin(self) -> str:
        """Who defined it: ``settings``, or ``database`` for a row made by hand."""
        return Schedule.ORIGIN_SETTINGS if self.row is None else self.row.origin

    @property
    def next_at(self) -> datetime | None:
        """The next tick; ``None`` if nothing is going to be enqueued."""
        return self.row.next_at if self.row is not None and self.state == "active" else None

    @property
    def last(self) -> Mapping[str, Any]:
        """The last tick: ``at``, ``outcome``, ``task`` and, once that has ended, ``ended``."""
        ticks = self.row.recent_ticks if self.row is not None else []
        last = ticks[-1] if ticks and isinstance(ticks, list) else {}
        return last if isinstance(last, dict) else {}  # SQL may have written anything

    @property
    def last_at(self) -> datetime | None:
        """The moment of the last tick."""
        at = self.last.get("at")
        return parse_datetime(at) if at else None


def read_rows() -> list[ScheduleStatus]:
    """Return the schedules of the table, by name."""
    rows = Schedule.objects.using(task_connection().alias).order_by("name")
    return [ScheduleStatus(_definition(row), row) for row in rows]


def _definition(row: Schedule) -> ScheduleDefinition:
    """Return the definition of a row; of one that only SQL can have written, as it is."""
    try:
        return ScheduleDefinition.of_row(row)
    except ValueError:
        return ScheduleDefinition(row.name, **{key: getattr(row, key) for key in KEYS})


def read_schedules() -> list[ScheduleStatus]:
    """Return every schedule by name; raise ``WrongSetting`` if those of the settings are not accepted."""
    found = {status.definition.name: status for status in read_rows()}
    for name, definition in configured().items():
        seen = found.get(name)
        if seen is None:
            found[name] = ScheduleStatus(definition, None)
        elif seen.origin != Schedule.ORIGIN_SETTINGS:
            found[name] = replace(seen, hides_settings=True)
    return [found[name] for name in sorted(found)]


def named(name: str) -> ScheduleStatus:
    """Return one schedule; raise ``UnknownSchedule``, with the known names.

    The settings are read only if the table has none of this name, so that wrong ones prevent nothing.
    """
    rows = {status.definition.name: status for status in read_rows()}
    if name in rows:
        return rows[name]
    known = {status.definition.name: status for status in read_schedules()}
    if name in known:
        return known[name]
    close = get_close_matches(name, known, 1)
    remedy = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known) or 'none'}."
    raise UnknownSchedule(f"There is no schedule {name!r}. {remedy}")
