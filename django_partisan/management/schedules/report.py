"""Read the schedules: rows of the table, and schedules of the settings that no manager has added yet."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final

from django_partisan.config.schedule_keys import KEYS
from django_partisan.exceptions import UnknownSchedule
from django_partisan.models import Schedule
from django_partisan.schedules.configured import configured
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.schedules.tick_record import moment_of
from django_partisan.sql.connection import task_connection

NEW: Final = "new"


@dataclass(frozen=True)
class ScheduleStatus:
    """One schedule: its definition, and its row, which is ``None`` until a manager has added it."""

    definition: ScheduleDefinition
    row: Schedule | None
    hides_settings: bool = False
    """Whether the settings also have a schedule of this name, which is not used because of this row."""

    @property
    def state(self) -> str:
        """The ``state`` of the row, or ``new`` if no manager has added it yet."""
        return NEW if self.row is None else self.row.state

    @property
    def origin(self) -> str:
        """Where it is defined: ``settings``, or ``database`` for a row made by hand."""
        return Schedule.ORIGIN_SETTINGS if self.row is None else self.row.origin

    @property
    def next_at(self) -> datetime | None:
        """The moment of the next tick; ``None`` if no task will be enqueued."""
        return self.row.next_at if self.row is not None and self.state == Schedule.STATE_ACTIVE else None

    @property
    def last(self) -> Mapping[str, Any]:
        """The last tick, as ``Schedule.last_tick``."""
        return {} if self.row is None else self.row.last_tick

    @property
    def last_at(self) -> datetime | None:
        """The moment of the last tick."""
        return moment_of(self.last)


def read_rows(**conditions: Any) -> list[ScheduleStatus]:
    """Return the schedules of the table that match the conditions, ordered by name."""
    rows = Schedule.objects.using(task_connection().alias).filter(**conditions).order_by("name")
    return [ScheduleStatus(_definition(row), row) for row in rows]


def _definition(row: Schedule) -> ScheduleDefinition:
    """Return the definition of a row; if it is invalid, as only SQL can write it, without validation."""
    try:
        return ScheduleDefinition.of_row(row)
    except ValueError:
        return ScheduleDefinition(row.name, **{key: getattr(row, key) for key in KEYS})


def read_schedules() -> list[ScheduleStatus]:
    """Return all schedules, ordered by name; raise ``WrongSetting`` if those of the settings are wrong."""
    found = {status.definition.name: status for status in read_rows()}
    for name, definition in configured().items():
        seen = found.get(name)
        if seen is None:
            found[name] = ScheduleStatus(definition, None)
        elif seen.origin != Schedule.ORIGIN_SETTINGS:
            found[name] = replace(seen, hides_settings=True)
    return [found[name] for name in sorted(found)]


def read_schedule(name: str) -> ScheduleStatus:
    """Return one schedule; raise ``UnknownSchedule`` with the known names if it does not exist.

    The settings are read only if the table has no schedule of this name, so that wrong settings do not matter
    otherwise.
    """
    for status in read_rows(name=name):
        return status
    known = {status.definition.name: status for status in read_schedules()}
    if name in known:
        return known[name]
    close = get_close_matches(name, known, 1)
    remedy = f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(known) or 'none'}."
    raise UnknownSchedule(f"There is no schedule {name!r}. {remedy}")
