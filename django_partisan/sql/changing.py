"""Change waiting tasks, and delete tasks that have ended.

These statements never change a row in process, and so never one that a manager holds: the status is compared
again when a row is locked. A row that others lock is being claimed or enqueued again, and is skipped.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.outcomes import DUE_NOW, PRIORITIZED
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.history import appended

_CHANGE: Final = """
    WITH chosen AS MATERIALIZED (
        SELECT id FROM django_partisan_task
         WHERE id = ANY(%(ids)s::bigint[]) AND {which} ORDER BY id FOR UPDATE SKIP LOCKED
    ), changed AS (
        {change} RETURNING task.id, task.queue_name, task.processor_class
    )
    SELECT * FROM changed ORDER BY id
"""
_COMMENT: Final = "'comment', nullif(%(comment)s::text, '')"


def _appended(entry: str) -> str:
    return appended("task.history", f"jsonb_build_object({entry})", "NULL::int", "NULL::timestamptz")


# A held task stays held: it is due as soon as it is resumed.
_RUN_NOW: Final = _CHANGE.format(
    which="status = 'new' AND execute_after > statement_timestamp()",
    change=f"""
        UPDATE django_partisan_task AS task
           SET execute_after = statement_timestamp(), ready = task.held IS NULL, updated_at = now(),
               history = {_appended(f"'outcome', '{DUE_NOW}', {_COMMENT}")}
          FROM chosen WHERE task.id = chosen.id
    """,
)

# ``updated_at`` does not change: by it a manager recognizes a row whose claim PostgreSQL forgot in a crash,
# and continues the run (see ``forgotten``).
_PRIORITIZE: Final = _CHANGE.format(
    which="status = 'new' AND priority <> %(priority)s",
    change=f"""
        UPDATE django_partisan_task AS task
           SET priority = %(priority)s,
               history = {_appended(f"'outcome', '{PRIORITIZED}', 'priority', %(priority)s::int, {_COMMENT}")}
          FROM chosen WHERE task.id = chosen.id
    """,
)

_DELETE: Final = _CHANGE.format(
    which="status IN ('finished', 'error')",
    change="DELETE FROM django_partisan_task AS task USING chosen WHERE task.id = chosen.id",
)


class ChangedTask(NamedTuple):
    """A task that was changed or deleted."""

    id: int
    queue: str
    processor: str


def run_now(connection: BaseDatabaseWrapper, ids: Sequence[int], comment: str = "") -> list[ChangedTask]:
    """Make the scheduled tasks among ``ids`` due, including those that wait for a retry; return them."""
    return _changed(connection, _RUN_NOW, ids, comment=comment)


def prioritize(
    connection: BaseDatabaseWrapper, ids: Sequence[int], priority: int, comment: str = ""
) -> list[ChangedTask]:
    """Set the priority of the waiting tasks among ``ids``; return those that had a different one."""
    return _changed(connection, _PRIORITIZE, ids, priority=priority, comment=comment)


def delete(connection: BaseDatabaseWrapper, ids: Sequence[int]) -> list[ChangedTask]:
    """Delete the finished and failed tasks among ``ids``; return them."""
    return _changed(connection, _DELETE, ids)


def _changed(
    connection: BaseDatabaseWrapper, statement: str, ids: Sequence[int], **parameters: object
) -> list[ChangedTask]:
    rows = fetch_all(connection, statement, {"ids": list(ids), **parameters})
    return [ChangedTask(*row) for row in rows]
