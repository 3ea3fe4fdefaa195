"""Lock due schedules, insert the tasks of their ticks, and write what became of them.

The server's clock decides what is due. Moments cross as seconds since 1970, because a cursor returns them
without a time zone if ``USE_TZ`` is ``False``. ``next_at`` moves in the transaction that inserts the tasks,
and other managers skip a row that is locked, so no tick is enqueued twice.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import JSONField

from django_partisan.models.schedule import Schedule
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.enqueueing import NOW
from django_partisan.sql.tokens import NO_CLAIM

ASIDE_SECONDS: Final = 60
"""How late a tick may be before it is an error that no manager can enqueue it."""
RETRY_SECONDS_AT_MOST: Final = 60

IS_ACTIVE: Final = "NOT paused AND stopped_at IS NULL AND next_at IS NOT NULL"
"""Whether ticks of a row may be due now or later."""
# Later than any pause is a moment that was written before the server's clock was set back.
_RETRY_AT: Final = f"CASE WHEN retry_at < now() + interval '{RETRY_SECONDS_AT_MOST + 1} s' THEN retry_at END"
_DUE_AT: Final = f"greatest(next_at, {_RETRY_AT})"
NEXT_IN: Final = f"extract(epoch FROM min({_DUE_AT}) FILTER (WHERE {IS_ACTIVE}) - clock_timestamp())::float8"
"""In how many seconds the first tick is due, whether its task is known or not."""

_FIELDS: Final = [field.attname for field in Schedule._meta.concrete_fields]
_JSON: Final = [
    _FIELDS.index(field.attname) for field in Schedule._meta.concrete_fields if isinstance(field, JSONField)
]
_COLUMNS: Final = ", ".join(f"schedule.{name}" for name in _FIELDS)
_ROW: Final = f"""
    SELECT {_COLUMNS}, extract(epoch FROM schedule.next_at)::float8, extract(epoch FROM now())::float8
      FROM django_partisan_schedule AS schedule
"""

_LOCK_DUE: Final = f"""
    {_ROW}
     WHERE {IS_ACTIVE} AND {_DUE_AT} <= now()
       AND name <> ALL(%(hidden)s::text[])
       AND (%(names)s::text[] IS NULL OR name = ANY(%(names)s::text[]))
     ORDER BY failures > 0, next_at, name LIMIT %(limit)s FOR UPDATE SKIP LOCKED
"""
_LOCK_ONE: Final = f"{_ROW} WHERE name = %s FOR UPDATE"
_LOCK_SOME: Final = f"{_ROW} WHERE name = ANY(%s::text[]) ORDER BY name FOR UPDATE SKIP LOCKED"

_NEXT: Final = f"""
    SELECT extract(epoch FROM min({_DUE_AT}) - clock_timestamp())::float8
      FROM django_partisan_schedule WHERE {IS_ACTIVE} AND name <> ALL(%s::text[])
"""

# DO UPDATE as for ``delay()``. No expiry is the latest.
_INSERT: Final = f"""
    INSERT INTO django_partisan_task AS task
           (status, extra, created_at, updated_at, queue_name, processor_class, priority, execute_after,
            ready, arguments, context, unique_key, scheduled_for, expires_at)
    SELECT 'new', '{{}}', {NOW}, {NOW}, queue, processor, priority, {NOW},
           true, arguments, context, key, scheduled_for, expires_at
      FROM jsonb_to_recordset(%s::jsonb)
        AS tick (place int, queue text, processor text, priority int, arguments jsonb, context jsonb,
                 key uuid, scheduled_for timestamptz, expires_at timestamptz)
     ORDER BY place
    ON CONFLICT (unique_key) WHERE status = 'new' AND unique_key IS NOT NULL
    DO UPDATE SET unique_key = EXCLUDED.unique_key, claim_token = {NO_CLAIM},
                  expires_at = CASE WHEN task.expires_at IS NOT NULL AND EXCLUDED.expires_at IS NOT NULL
                                    THEN greatest(task.expires_at, EXCLUDED.expires_at) END
    RETURNING id, xmax = 0
"""

_IS_OPEN: Final = """
    SELECT id FROM django_partisan_task
     WHERE id = ANY(%s::bigint[])
       AND (status = 'in_process' OR (status = 'new' AND (expires_at IS NULL OR expires_at > now())))
"""

# Those that can be locked are, so that nobody else locks them before the insert.
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
    """A row that this transaction locks, the moment of its next tick, and the server's time."""

    row: Schedule
    next_at: datetime | None
    now: datetime


class NewTick(NamedTuple):
    """The task of a tick."""

    queue: str
    processor: str
    priority: int
    arguments: str
    """JSON text."""
    context: str
    """JSON text."""
    unique_key: UUID | None
    scheduled_for: datetime
    expires_at: datetime | None


def lock_due(
    connection: BaseDatabaseWrapper, limit: int, hidden: Collection[str], names: Sequence[str] | None = None
) -> list[LockedSchedule]:
    """Lock up to ``limit`` rows with due ticks, of all or of those in ``names``; skip those that others lock.

    Rows that failed at their last try come last; those in ``hidden`` are left out.
    """
    parameters = {"limit": limit, "hidden": list(hidden), "names": None if names is None else list(names)}
    return [_locked(connection, row) for row in fetch_all(connection, _LOCK_DUE, parameters)]


def lock_one(connection: BaseDatabaseWrapper, name: str) -> LockedSchedule | None:
    """Lock a row; return ``None`` if there is none."""
    rows = fetch_all(connection, _LOCK_ONE, (name,))
    return _locked(connection, rows[0]) if rows else None


def lock_some(connection: BaseDatabaseWrapper, names: Sequence[str]) -> dict[str, LockedSchedule]:
    """Lock rows; return those that exist and that nobody else locks, by name."""
    rows = fetch_all(connection, _LOCK_SOME, (list(names),))
    return {locked.row.name: locked for locked in (_locked(connection, row) for row in rows)}


def next_in(connection: BaseDatabaseWrapper, hidden: Collection[str]) -> float | None:
    """Return in how many seconds ``lock_due()`` may find a row; ``None`` if there is none to wait for."""
    seconds: float | None = fetch_all(connection, _NEXT, (list(hidden),))[0][0]
    return seconds


def insert_ticks(connection: BaseDatabaseWrapper, ticks: Sequence[NewTick]) -> list[tuple[int, bool]]:
    """Insert the tasks of ticks; return the id of each and whether it is new, in order.

    A duplicate of a waiting task, or of an earlier tick, has the id of that one, which gets the later expiry.
    """
    # In the order of the keys, as all who insert many: so they cannot deadlock.
    order = sorted(range(len(ticks)), key=lambda place: _key_of(ticks[place].unique_key))
    first: dict[Any, NewTick] = {}
    for place in order:
        tick = ticks[place]
        key = tick.unique_key or place
        known = first.setdefault(key, tick)
        if known is not tick:
            first[key] = known._replace(expires_at=_later(known.expires_at, tick.expires_at))
    if not first:
        return []
    text = "[" + ",".join(_as_json(place, tick) for place, tick in enumerate(first.values())) + "]"
    inserted = fetch_all(connection, _INSERT, (text,))
    if len(inserted) != len(first):
        raise ValueError("A trigger on django_partisan_task has dropped a task: it returned NULL.")
    rows = dict(zip(first, inserted, strict=True))
    results: list[tuple[int, bool]] = [(0, False)] * len(ticks)
    for place in order:
        key = ticks[place].unique_key or place
        results[place] = (rows[key][0], rows[key][1])
        rows[key] = (rows[key][0], False)  # the others with this key are its duplicates
    return results


def open_tasks(connection: BaseDatabaseWrapper, ids: Iterable[int]) -> set[int]:
    """Return those of some tasks that run, or wait and have not expired."""
    asked = list(ids)
    return {row[0] for row in fetch_all(connection, _IS_OPEN, (asked,))} if asked else set()


def locked_keys(connection: BaseDatabaseWrapper, keys: Iterable[UUID]) -> set[UUID]:
    """Return those of some unique keys whose waiting task another transaction locks; lock the other tasks."""
    asked = [str(key) for key in keys]
    return {row[0] for row in fetch_all(connection, _LOCKED_KEYS, {"keys": asked})} if asked else set()


def write_ticked(connection: BaseDatabaseWrapper, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write what became of due ticks, and end the errors of their schedules; see ``_WRITE`` for the keys."""
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
    """Write that a schedule was run without a tick."""
    parameters = {
        "name": name,
        "recent_ticks": json.dumps(recent_ticks),
        "open_tick": None if open_tick is None else json.dumps(open_tick),
        "last_task_id": last_task_id,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WRITE_RUN, parameters)


def pause(connection: BaseDatabaseWrapper, name: str, comment: str | None) -> bool | None:
    """Pause a schedule; return whether it was not paused before, or ``None`` if there is none.

    Without a comment that of the row stays.
    """
    rows = fetch_all(connection, _PAUSE, {"name": name, "comment": comment})
    return not rows[0][0] if rows else None


def resume(connection: BaseDatabaseWrapper, name: str, next_at: datetime | None) -> None:
    """End the pause of a schedule, whose next tick is at ``next_at``."""
    with connection.cursor() as cursor:
        cursor.execute(_RESUME, {"name": name, "next_at": next_at})


def moment_of(seconds: float) -> datetime:
    """Return seconds since 1970 as a moment in UTC."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc)


def _locked(connection: BaseDatabaseWrapper, values: tuple[Any, ...]) -> LockedSchedule:
    *columns, next_at, now = values
    for place in _JSON:
        if columns[place] is not None:
            columns[place] = json.loads(columns[place])
    row = Schedule.from_db(connection.alias, _FIELDS, columns)
    return LockedSchedule(row, None if next_at is None else moment_of(next_at), moment_of(now))


def _key_of(key: UUID | None) -> int:
    return -1 if key is None else key.int


def _later(one: datetime | None, other: datetime | None) -> datetime | None:
    return None if one is None or other is None else max(one, other)


def _as_json(place: int, tick: NewTick) -> str:
    values = {
        "place": place,
        "queue": tick.queue,
        "processor": tick.processor,
        "priority": tick.priority,
        "key": None if tick.unique_key is None else str(tick.unique_key),
        "scheduled_for": tick.scheduled_for.isoformat(),
        "expires_at": None if tick.expires_at is None else tick.expires_at.isoformat(),
    }
    # The arguments as they are: decoded and written again, a number might not be the same.
    return f'{json.dumps(values)[:-1]}, "arguments": {tick.arguments}, "context": {tick.context}}}'
