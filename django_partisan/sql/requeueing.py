"""Requeue failed tasks, so that they wait again."""

from collections.abc import Sequence
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.outcomes import REQUEUED
from django_partisan.sql.changing import ChangedTask
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.history import appended

_APPENDED = appended(
    "task.history",
    f"jsonb_build_object('outcome', '{REQUEUED}', 'comment', nullif(%(comment)s::text, ''))",
    "NULL::int",
    "NULL::timestamptz",
)

# No manager holds a failed row. The status is compared again when a row is locked. A row that others lock is
# being changed, and is skipped. A request to cancel the task concerned its earlier runs, so it is deleted.
_REQUEUE: Final = f"""
    WITH failed AS MATERIALIZED (
        SELECT id FROM django_partisan_task
         WHERE id = ANY(%(ids)s::bigint[]) AND status = 'error' ORDER BY id FOR UPDATE SKIP LOCKED
    ), requeued AS (
        UPDATE django_partisan_task AS task
           SET status = 'new', ready = true, execute_after = statement_timestamp(), finished_at = NULL,
               claimed_by = NULL, held = NULL, unregistered_since = NULL, error_reason = NULL,
               expires_at = NULL,
               retries = 0, postpones = 0, crashes = 0, takeovers = 0,
               history = {_APPENDED},
               unique_key = CASE WHEN %(keep_keys)s THEN task.unique_key END,
               updated_at = now()
          FROM failed WHERE task.id = failed.id
        RETURNING task.id, task.queue_name, task.processor_class
    ), forgotten AS (
        DELETE FROM django_partisan_cancel_request WHERE task_id IN (SELECT id FROM requeued)
    )
    SELECT * FROM requeued ORDER BY id
"""


def requeue(
    connection: BaseDatabaseWrapper, ids: Sequence[int], keep_keys: bool = True, comment: str = ""
) -> list[ChangedTask]:
    """Make the failed tasks among ``ids`` due, reset their retries, postponements and crashes; return them.

    Raises ``IntegrityError`` if a task has a duplicate, and waits for the end of a transaction that has
    inserted one; with ``keep_keys=False``, the rows give up their unique keys. ``comment`` is stored in the
    history.
    """
    parameters = {"ids": list(ids), "keep_keys": keep_keys, "comment": comment}
    return [ChangedTask(*row) for row in fetch_all(connection, _REQUEUE, parameters)]
