"""Compare the rows of schedules with the settings of live managers once, in the chores thread."""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.manager.tick_errors import TickError, describe, is_lock, is_of_a_row
from django_partisan.outcomes import (
    SCHEDULE_ADDED,
    SCHEDULE_CHANGED,
    SCHEDULE_REMOVED,
    SCHEDULE_RESTARTED,
    SCHEDULE_STOPPED,
)
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.sql import schedule_listing as sql
from django_partisan.sql.own_transaction import savepoint_of, transaction_of
from django_partisan.sql.scheduling import LockedSchedule, lock_some
from django_partisan.sql.server_time import server_now


class Change(NamedTuple):
    """A change to a row; ``change`` is one of ``outcomes.SCHEDULE_CHANGES``."""

    schedule: str
    task: str
    change: str
    next_at: datetime | None = None


class Comparison(NamedTuple):
    """The result of a comparison."""

    changes: list[Change]
    is_partial: bool = False
    """Whether rows were left out because other transactions lock them."""
    refused: Mapping[str, TickError] = MappingProxyType({})
    """The errors of other rows that were left out, by name of the schedule."""


def compare(
    connection: BaseDatabaseWrapper, manager: UUID, definitions: Mapping[str, ScheduleDefinition]
) -> Comparison:
    """Write the definitions that ``manager`` decides about; stop unlisted rows, remove long-stopped ones."""
    with transaction_of(connection):
        sql.lock_listing(connection)
        names = [name for name in sql.names_to_write(connection, manager) if name in definitions]
        stored = lock_some(connection, names) if names else {}
        left = sql.existing(connection, names) - stored.keys() if names else set()
        rows = _Rows(connection)
        for name in names:
            if name not in left:
                rows.change(name, partial(_write, connection, definitions[name], stored.get(name)))
        for name, task in sql.lock_unlisted(connection, manager):
            rows.change(name, partial(_stop, connection, name, task))
        for name, task in sql.lock_stopped(connection):
            rows.change(name, partial(_remove, connection, name, task))
    return Comparison(rows.changes, bool(left or rows.locked), rows.refused)


class _Rows:
    """Rows that are changed in savepoints, so that a refused or locked row does not affect the others."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self.changes: list[Change] = []
        self.locked: set[str] = set()
        self.refused: dict[str, TickError] = {}

    def change(self, name: str, make: Callable[[], Change | None]) -> None:
        """Change a schedule's row; raise errors that do not concern the row, such as a lost connection."""
        try:
            with savepoint_of(self._connection):
                change = make()
        except Exception as error:
            if not is_of_a_row(error):
                raise
            if is_lock(error):
                self.locked.add(name)  # someone is inserting a row by hand at this moment
            else:
                self.refused[name] = describe(error)
            return
        self.changes += [] if change is None else [change]


def _stop(connection: BaseDatabaseWrapper, name: str, task: str) -> Change:
    sql.stop(connection, name)
    return Change(name, task, SCHEDULE_STOPPED)


def _remove(connection: BaseDatabaseWrapper, name: str, task: str) -> Change:
    sql.remove(connection, name)
    return Change(name, task, SCHEDULE_REMOVED)


def _write(
    connection: BaseDatabaseWrapper,
    definition: ScheduleDefinition,
    stored: LockedSchedule | None,
) -> Change | None:
    starts_at: datetime | None = None
    if stored is None or _restarts(definition, stored):
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
    # Nothing is written if someone has just created the row by hand.
    return Change(definition.name, definition.task, change, next_at) if is_written else None


def _restarts(definition: ScheduleDefinition, stored: LockedSchedule) -> bool:
    """Return whether ticks are computed from now: new times, a fault, or a stop of over an hour."""
    stopped_at = stored.stopped_at
    was_stopped = stopped_at is not None and (stored.now - stopped_at).total_seconds() > sql.RETURN_SECONDS
    return was_stopped or stored.fault is not None or not definition.has_same_ticks(stored.row)
