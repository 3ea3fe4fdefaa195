"""Look up whether the tasks of ticks have ended; one manager does this for all, about once a minute."""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.schedules.tick_record import EndedTicks, TaskState, ended, is_sound
from django_partisan.sql.connection import execute, fetch_all

CHORE: Final = "open_ticks"
PAGE_ROWS: Final = 200
"""How many schedules are looked up at once."""

_TAKE: Final = f"""
    INSERT INTO django_partisan_chore AS chore (name, last_at) VALUES ('{CHORE}', now())
    ON CONFLICT (name) DO UPDATE SET last_at = EXCLUDED.last_at
     WHERE chore.last_at IS NULL OR chore.last_at <= now() - %s * interval '1 second'
        OR chore.last_at > now() + interval '1 minute'
    RETURNING name
"""
_PAGE: Final = """
    SELECT name, recent_ticks::text, open_tick::text, extract(epoch FROM now())::float8
      FROM django_partisan_schedule WHERE open_tick IS NOT NULL AND name > %s
     ORDER BY name LIMIT %s
"""
_STATES: Final = """
    SELECT id, status, error_reason,
           extract(epoch FROM CASE WHEN isfinite(finished_at) THEN finished_at END)::float8
      FROM django_partisan_task WHERE id = ANY(%s::bigint[])
"""
# Rows are locked only for this statement, because their ticks wait for it. A row that has ticked since it was
# read, or that others lock, is left for the next look-up.
_WRITE: Final = """
    WITH found AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(%s::jsonb)
            AS found (name text, recent_ticks jsonb, open_tick jsonb, completed_at float8, failed boolean,
                      recent_before jsonb, open_before jsonb)
    ), free AS MATERIALIZED (
        SELECT schedule.name FROM django_partisan_schedule AS schedule, found
         WHERE schedule.name = found.name AND schedule.recent_ticks = found.recent_before
           AND schedule.open_tick = found.open_before
           FOR UPDATE OF schedule SKIP LOCKED
    )
    UPDATE django_partisan_schedule AS schedule
       SET recent_ticks = found.recent_ticks, open_tick = found.open_tick,
           last_completed_at = greatest(schedule.last_completed_at, to_timestamp(found.completed_at)),
           last_failed = coalesce(found.failed, schedule.last_failed)
      FROM found, free WHERE found.name = free.name AND schedule.name = free.name
"""


class _Row(NamedTuple):
    name: str
    recent_ticks: list[dict[str, Any]]
    open_tick: dict[str, Any]
    now: float

    @property
    def task_ids(self) -> set[int]:
        """The ids of the tasks that are not known to have ended."""
        recent = {one["task"] for one in self.recent_ticks if one["task"] is not None and "ended" not in one}
        return recent | {self.open_tick["task"]}


def look_up(connection: BaseDatabaseWrapper, interval: float, page_rows: int = PAGE_ROWS) -> bool:
    """Record which tasks of ticks have ended, unless a manager did so less than ``interval`` seconds ago.

    Return whether they were looked up.
    """
    if not fetch_all(connection, _TAKE, (interval,)):
        return False
    after: str | None = ""
    while after is not None:
        after = _look_up_page(connection, after, page_rows)
    return True


def _look_up_page(connection: BaseDatabaseWrapper, after: str, page_rows: int) -> str | None:
    """Look up the next schedules after a name; return the last one's name, ``None`` if no more follow."""
    page = fetch_all(connection, _PAGE, (after, page_rows))
    rows = [row for row in map(_read, page) if row is not None]
    ids = sorted({task_id for row in rows for task_id in row.task_ids})
    found = fetch_all(connection, _STATES, (ids,)) if ids else []
    states = {task_id: TaskState(*state) for task_id, *state in found}
    results = [(row, ended(row.recent_ticks, row.open_tick, states, row.now)) for row in rows]
    _write(connection, [(row, one) for row, one in results if one.failed is not None])
    return page[-1][0] if len(page) == page_rows else None


def _read(values: tuple[Any, ...]) -> _Row | None:
    """Return a row; ``None`` if its columns are not as managers write them, because SQL changed them."""
    name, recent, open_tick, now = values
    try:
        row = _Row(name, json.loads(recent), json.loads(open_tick), now)
    except (ValueError, RecursionError):
        return None
    return row if is_sound(row.recent_ticks, row.open_tick) and row.open_tick is not None else None


def _write(connection: BaseDatabaseWrapper, results: Sequence[tuple[_Row, EndedTicks]]) -> None:
    if results:
        values = [
            {
                "name": row.name,
                "recent_before": row.recent_ticks,
                "open_before": row.open_tick,
                **one._asdict(),
            }
            for row, one in results
        ]
        execute(connection, _WRITE, (json.dumps(values),))
