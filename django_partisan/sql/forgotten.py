"""Restore claims that PostgreSQL forgot in a crash, because their commit does not wait for the disk.

A forgotten claim leaves its row as it was before: waiting, and not written since. Whoever else had taken the
task, settled it or enqueued a duplicate of it would have set ``updated_at`` to a later time than the claim's.
A requeue also moves the time when a task is due, from which that of the claim is reckoned; but a run that
failed before the requeue is one attempt more.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.claiming import ATTEMPTS, ID, TOKEN, WAIT, TaskRow
from django_partisan.sql.connection import fetch_all

# The time of a claim is when its task was due, plus the wait that the claim returned; an enqueuer may have
# put a duplicate off since. The status is compared as a column, so that no plan walks over all waiting rows.
_RESTORE: Final = """
    WITH forgotten AS MATERIALIZED (
        SELECT task.id, claim.token
          FROM unnest(%s::bigint[], %s::bigint[], %s::float8[], %s::int[], %s::text[])
            AS claim (id, token, wait, attempts, status), django_partisan_task AS task
         WHERE task.id = claim.id AND task.claim_token IS NULL AND task.status = claim.status
           AND task.attempts = claim.attempts
           AND task.execute_after <= now()
           AND task.updated_at < task.execute_after + claim.wait * interval '1 second'
           AND EXISTS (SELECT FROM django_partisan_manager WHERE id = %s)
           FOR UPDATE OF task {wait}
    )
    UPDATE django_partisan_task AS task
       SET status = 'in_process', ready = false, held = NULL, claim_token = forgotten.token, claimed_by = %s,
           claimed_at = now(), updated_at = now()
      FROM forgotten WHERE task.id = forgotten.id
    RETURNING task.id
"""
_SKIP_LOCKED: Final = _RESTORE.format(wait="SKIP LOCKED")
_WAIT_FOR_LOCKS: Final = "SET LOCAL lock_timeout = {}; " + _RESTORE.format(wait="")


def restore(
    connection: BaseDatabaseWrapper,
    manager: UUID,
    rows: Sequence[TaskRow],
    lock_timeout_ms: int | None = None,
) -> set[int]:
    """Restore in place, under their own tokens, those claims that were forgotten; return the tasks' ids.

    ``rows`` are tasks as they were claimed. A manager whose row is gone restores nothing. Rows that others
    lock, such as enqueuers of a duplicate, are skipped. With ``lock_timeout_ms`` they are waited for; an
    error of ``ErrorKind.LOCKED`` says that it took longer.
    """
    sql = _SKIP_LOCKED if lock_timeout_ms is None else _WAIT_FOR_LOCKS.format(lock_timeout_ms)
    columns = ([row[column] for row in rows] for column in (ID, TOKEN, WAIT, ATTEMPTS))
    parameters = (*columns, ["new"] * len(rows), manager, manager)
    return {row[0] for row in fetch_all(connection, sql, parameters)}
