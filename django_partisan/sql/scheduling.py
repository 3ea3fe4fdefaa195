"""Lock due schedules, and write the outcomes of their ticks; ``tick_inserting`` inserts the tasks.

The server's clock decides what is due. Moments are read as seconds since 1970, because a cursor returns them
without a time zone if ``USE_TZ`` is ``False``. ``next_at`` changes in the transaction that inserts the tasks,
and other managers skip locked rows, so no tick is enqueued twice.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple, cast
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, JSONField, Value

from django_partisan.models.schedule import Schedule
from django_partisan.schedules import tick_record
from django_partisan.schedules.tick_record import MalformedRow
from django_partisan.sql.columns import fields_with_column
from django_partisan.sql.connection import fetch_all

ASIDE_SECONDS: Final = 60
"""How many seconds late a tick may be before it is an error that no manager can enqueue it."""
RETRY_SECONDS_AT_MOST: Final = 60

IS_ACTIVE: Final = "NOT paused AND stopped_at IS NULL AND next_at < 'infinity'"
"""Whether ticks of a row may be due now or later."""
# A ``retry_at`` later than any delay was written before the server's clock was set back, and is ignored.
_RETRY_AT: Final = f"CASE WHEN retry_at < now() + interval '{RETRY_SECONDS_AT_MOST + 1} s' THEN retry_at END"
# SQL may have written '-infinity', from which PostgreSQL 15 and 16 cannot subtract.
_DUE_AT: Final = f"greatest(next_at, {_RETRY_AT}, 'epoch')"
NEXT_IN: Final = f"extract(epoch FROM min({_DUE_AT}) FILTER (WHERE {IS_ACTIVE}) - clock_timestamp())::float8"
"""Seconds until the first tick is due, whether or not a manager can enqueue its task."""

# Python and the drivers do not support moments outside of these years, so those are read only as text.
_MOMENT: Final = (
    "CASE WHEN schedule.{0} BETWEEN '0001-01-03' AND '9999-12-29' THEN schedule.{0} END"  # in any time zone
)
_FIELDS: Final = [field.attname for field in fields_with_column(Schedule)]
_JSON: Final = {
    _FIELDS.index(field.attname): "NULL" if field.null else json.dumps(cast(Value, field.db_default).value)
    for field in fields_with_column(Schedule)
    if isinstance(field, JSONField)
}
"""The positions of the JSON columns, and the value of an empty one: JSON text or ``NULL``."""
_COLUMNS: Final = ", ".join(
    (_MOMENT if isinstance(field, DateTimeField) else "schedule.{0}").format(field.attname)
    for field in fields_with_column(Schedule)
)
_ROW: Final = f"""
    SELECT {_COLUMNS}, extract(epoch FROM {_MOMENT.format("next_at")})::float8, schedule.next_at::text,
           extract(epoch FROM {_MOMENT.format("stopped_at")})::float8, extract(epoch FROM now())::float8
      FROM django_partisan_schedule AS schedule
"""

_LOCK_DUE: Final = f"""
    {_ROW}
     WHERE {IS_ACTIVE} AND {_DUE_AT} <= now()
       AND name <> ALL(%(hidden)s::text[])
       AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s::text[]))
     ORDER BY failures > 0, next_at, name LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""
_TASK_OF: Final = "SELECT task FROM django_partisan_schedule WHERE name = %s"
_LOCK_ONE: Final = f"{_ROW} WHERE name = %s FOR UPDATE"
_LOCK_SOME: Final = f"{_ROW} WHERE name = ANY(%s::text[]) ORDER BY name FOR UPDATE SKIP LOCKED"

_NEXT: Final = f"""
    SELECT extract(epoch FROM min({_DUE_AT}) - clock_timestamp())::float8
      FROM django_partisan_schedule WHERE {IS_ACTIVE} AND name <> ALL(%s::text[])
"""

_IS_OPEN: Final = """
    SELECT id FROM django_partisan_task
     WHERE id = ANY(%s::bigint[])
       AND (status = 'in_process' OR (status = 'new' AND (expires_at IS NULL OR expires_at > now())))
"""

# Rows that can be locked are locked, so that nobody else locks them before the insert.
_LOCKED_KEYS: Final = """
    WITH free AS MATERIALIZED (
        SELECT unique_key FROM django_partisan_task
         WHERE unique_key = ANY(%(keys)s::uuid[]) AND status = 'new' FOR UPDATE SKIP LOCKED
    )
    SELECT unique_key FROM django_partisan_task
     WHERE unique_key = ANY(%(keys)s::uuid[]) AND status = 'new'
       AND unique_key NOT IN (SELECT unique_key FROM free)
"""

_WRITE: Final = """
    UPDATE django_partisan_schedule AS schedule
       SET next_at = ticked.next_at, last_at = ticked.last_at, lateness_seconds = ticked.lateness_seconds,
           recent_ticks = ticked.recent_ticks, totals = ticked.totals, open_tick = ticked.open_tick,
           last_task_id = ticked.last_task_id, error = '', failures = 0, retry_at = NULL
      FROM jsonb_to_recordset(%s::jsonb)
        AS ticked (name text, next_at timestamptz, last_at timestamptz, lateness_seconds float8,
                   recent_ticks jsonb, totals jsonb, open_tick jsonb, last_task_id bigint)
     WHERE schedule.name = ticked.name
"""
_WRITE_RUN: Final = """
    UPDATE django_partisan_schedule
       SET recent_ticks = %(recent_ticks)s::jsonb, open_tick = %(open_tick)s::jsonb,
           last_task_id = %(last_task_id)s
     WHERE name = %(name)s
"""
_PAUSE: Final = """
    WITH before AS MATERIALIZED (
        SELECT name, paused FROM django_partisan_schedule WHERE name = %(name)s FOR UPDATE
    )
    UPDATE django_partisan_schedule AS schedule
       SET paused = true, comment = coalesce(%(comment)s, schedule.comment)
      FROM before WHERE schedule.name = before.name
    RETURNING before.paused
"""
_RESUME: Final = """
    UPDATE django_partisan_schedule
       SET paused = false, comment = '', next_at = %(next_at)s, error = '', failures = 0, retry_at = NULL
     WHERE name = %(name)s
"""


class LockedSchedule(NamedTuple):
    """A schedule's row that this transaction locks, with its moments in UTC, and the server's time."""

    row: Schedule
    next_at: datetime | None
    next_at_text: str | None
    """The same, as PostgreSQL writes it."""
    stopped_at: datetime | None
    now: datetime
    fault: MalformedRow | None = None
    """The error of a column that cannot be read; managers never write such a value."""

    def ensure_sound(self) -> None:
        """Raise ``MalformedRow`` unless the row can be read and its values are as managers write them."""
        if self.fault is not None:
            raise self.fault
        tick_record.ensure_sound(self.row)


def lock_due(
    connection: BaseDatabaseWrapper, limit: int, hidden: Collection[str], names: Sequence[str] | None = None
) -> list[LockedSchedule]:
    """Lock up to ``limit`` rows with due ticks, of all or of those in ``names``; skip rows that others lock.

    Rows that failed at their last attempt come last; rows in ``hidden`` are left out.
    """
    parameters = {"limit": limit, "hidden": list(hidden), "names": None if names is None else list(names)}
    return [_locked(connection, row) for row in fetch_all(connection, _LOCK_DUE, parameters)]


def task_of(connection: BaseDatabaseWrapper, name: str) -> str | None:
    """Return the name of a schedule's task, without a lock; ``None`` if there is no such schedule."""
    rows = fetch_all(connection, _TASK_OF, (name,))
    return rows[0][0] if rows else None


def lock_one(connection: BaseDatabaseWrapper, name: str) -> LockedSchedule | None:
    """Lock and return a row; return ``None`` if it does not exist."""
    rows = fetch_all(connection, _LOCK_ONE, (name,))
    return _locked(connection, rows[0]) if rows else None


def lock_some(connection: BaseDatabaseWrapper, names: Sequence[str]) -> dict[str, LockedSchedule]:
    """Lock and return the rows that exist and that nobody else locks, by name."""
    rows = fetch_all(connection, _LOCK_SOME, (list(names),))
    return {locked.row.name: locked for locked in (_locked(connection, row) for row in rows)}


def next_in(connection: BaseDatabaseWrapper, hidden: Collection[str]) -> float | None:
    """Return the seconds until ``lock_due()`` may find a row; ``None`` if there is no row to wait for."""
    seconds: float | None = fetch_all(connection, _NEXT, (list(hidden),))[0][0]
    return seconds


def open_tasks(connection: BaseDatabaseWrapper, ids: Iterable[int]) -> set[int]:
    """Return the tasks among ``ids`` that are running, or waiting and not expired."""
    asked = list(ids)
    return {row[0] for row in fetch_all(connection, _IS_OPEN, (asked,))} if asked else set()


def locked_keys(connection: BaseDatabaseWrapper, keys: Iterable[UUID]) -> set[UUID]:
    """Return the keys whose waiting task another transaction locks; lock the tasks of the other keys."""
    asked = [str(key) for key in keys]
    return {row[0] for row in fetch_all(connection, _LOCKED_KEYS, {"keys": asked})} if asked else set()


def write_ticked(connection: BaseDatabaseWrapper, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the outcomes of due ticks, and clear the errors of their schedules; ``_WRITE`` lists the keys."""
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(_WRITE, (json.dumps(rows),))


def write_run(
    connection: BaseDatabaseWrapper,
    name: str,
    recent_ticks: list[dict[str, Any]],
    open_tick: dict[str, Any] | None,
    last_task_id: int,
) -> None:
    """Record that the task of a schedule was enqueued by hand, outside of its ticks."""
    parameters = {
        "name": name,
        "recent_ticks": json.dumps(recent_ticks),
        "open_tick": None if open_tick is None else json.dumps(open_tick),
        "last_task_id": last_task_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WRITE_RUN, parameters)


def pause(connection: BaseDatabaseWrapper, name: str, comment: str | None) -> bool | None:
    """Pause a schedule; return whether it was not paused before, or ``None`` if it does not exist.

    If ``comment`` is ``None``, the row's comment is kept.
    """
    rows = fetch_all(connection, _PAUSE, {"name": name, "comment": comment})
    return not rows[0][0] if rows else None


def resume(connection: BaseDatabaseWrapper, name: str, next_at: datetime | None) -> None:
    """End the pause of a schedule; its next tick is at ``next_at``."""
    with connection.cursor() as cursor:
        cursor.execute(_RESUME, {"name": name, "next_at": next_at})


def moment_of(seconds: float) -> datetime:
    """Return seconds since 1970 as a moment in UTC."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc)


def _locked(connection: BaseDatabaseWrapper, values: tuple[Any, ...]) -> LockedSchedule:
    *columns, next_at, next_at_text, stopped_at, now = values
    fault: MalformedRow | None = None
    if next_at is None and next_at_text is not None:
        fault = MalformedRow(
            f"next_at is {next_at_text}; expected a moment of the years 1 to 9999."
            " Pause and resume the schedule."
        )
    for place, remedy in _JSON.items():
        try:
            columns[place] = None if columns[place] is None else json.loads(columns[place])
        except (ValueError, RecursionError) as error:
            columns[place] = None
            problem = f"{_FIELDS[place]} is JSON that Python cannot parse ({error}); expected other JSON"
            fault = MalformedRow(f"{problem}. Set it to {remedy}, for example.")
    row = Schedule.from_db(connection.alias, _FIELDS, columns)
    return LockedSchedule(row, _moment(next_at), next_at_text, _moment(stopped_at), moment_of(now), fault)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else moment_of(seconds)
