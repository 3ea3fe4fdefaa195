"""Claim one task by its id, for a process that itself runs the tasks that it enqueues."""

from typing import Final, cast
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.claiming import RETURNING, TaskRow
from django_partisan.sql.connection import fetch_all

_CLAIM_ONE: Final = f"""
    UPDATE django_partisan_task AS task
       SET status = 'in_process', ready = false, claim_token = %s, claimed_by = %s,
           claimed_at = now(), updated_at = now()
     WHERE id = (
        SELECT id FROM django_partisan_task
         WHERE id = %s AND status = 'new' AND ready AND held IS NULL FOR UPDATE SKIP LOCKED
     )
    RETURNING {RETURNING}
"""


def claim_one(connection: BaseDatabaseWrapper, manager: UUID, token: int, task_id: int) -> list[TaskRow]:
    """Claim a task under ``token``; return no row if it is not waiting, not due, held or locked."""
    return cast(list[TaskRow], fetch_all(connection, _CLAIM_ONE, (token, manager, task_id)))
