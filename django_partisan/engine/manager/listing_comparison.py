"""Have the rows of schedules follow the settings of live managers: one comparison, in the chores' thread."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.models.schedule import Schedule
from django_partisan.outcomes import (
    SCHEDULE_ADDED,
    SCHEDULE_CHANGED,
    SCHEDULE_REMOVED,
    SCHEDULE_RESTARTED,
    SCHEDULE_STOPPED,
)
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.sql import schedule_listing as sql
from django_partisan.sql.errors import ErrorKind, kind_of
from django_partisan.sql.own_transaction import savepoint_of, transaction_of
from django_partisan.sql.scheduling import LockedSchedule, lock_some
from django_partisan.sql.server_time import server_now

_OF_TIMES = ("cron", "every", "time_zone")


class Change(NamedTuple):
    """What was done to a row; ``change`` is one of ``outcomes.SCHEDULE_CHANGES``."""

    schedule: str
    task: str
    change: str
    next_at: datetime | None = None


class Comparison(NamedTuple):
    """What a comparison did, and whether it left out rows that others lock."""

    changes: list[Change]
    is_partial: bool = False


def compare(
    connection: BaseDatabaseWrapper, manager: UUID, definitions: Mapping[str, ScheduleDefinition]
) -> Comparison:
    """Write the definitions about which ``manager`` decides, and stop and remove what nobody lists."""
    changes: list[Change] = []
    with transaction_of(connection):
        sql.lock_listing(connection)
        names = [name for name in sql.names_to_write(connection, manager) if name in definitions]
        stored = lock_some(connection, names) if names else {}
        stopped = sql.stopped_seconds(connection, names) if names else {}
        left = sql.existing(connection, names) - stored.keys() if names else set()
        for name in names:
            if name in left:
                continue
            try:
                with savepoint_of(connection):
                    change = _write(connection, definitions[name], stored.get(name), stopped.get(name))
            except Error as error:
                if kind_of(error) is not ErrorKind.LOCKED:
                    raise
                left.add(name)  # somebody inserts a row by hand in this moment
                continue
            changes += [] if change is None else [change]
        changes += [Change(*one, SCHEDULE_STOPPED) for one in sql.stop_unlisted(connection, manager)]
        changes += [Change(*one, SCHEDULE_REMOVED) for one in sql.remove_stopped(connection)]
    return Comparison(changes, bool(left))


def _write(
    connection: BaseDatabaseWrapper,
    definition: ScheduleDefinition,
    stored: LockedSchedule | None,
    stopped_seconds: float | None,
) -> Change | None:
    starts_at: datetime | None = None
    if stored is None or _starts_anew(definition, stored.row, stopped_seconds):
        starts_at = server_now(connection)
        next_at = definition.times.after(starts_at)
    else:
        next_at = stored.next_at
    is_written = sql.write_definition(
        connection, definition.name, definition.as_columns(), definition.fingerprint, next_at, starts_at
    )
    if stored is None:
        change = SCHEDULE_ADDED
    elif stored.row.fingerprint != definition.fingerprint:
        change = SCHEDULE_CHANGED
    else:
        change = SCHEDULE_RESTARTED
    # It is not written if somebody has made a row by hand in this moment.
    return Change(definition.name, definition.task, change, next_at) if is_written else None


def _starts_anew(definition: ScheduleDefinition, row: Schedule, stopped_seconds: float | None) -> bool:
    """Return whether a schedule ticks at other times now, or was stopped for long."""
    if stopped_seconds is not None and stopped_seconds > sql.RETURN_SECONDS:
        return True
    columns = definition.as_columns()
    return any(columns[name] != getattr(row, name) for name in _OF_TIMES)
