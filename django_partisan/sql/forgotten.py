"""Restore claims that PostgreSQL forgot in a crash, because their commit does not wait for the disk.

A forgotten claim leaves its row as it was before: waiting, without a token, and not written since. Every
other change of the row can be recognized:

- A later claim or settlement has set ``updated_at`` to a time after the claim.
- Enqueueing a duplicate has set the token to ``NO_CLAIM``. Times would not suffice, as the enqueuer may
  change them, too.
- A requeue changes ``execute_after``, from which the time of the claim is computed. But the run that failed
  before it has incremented ``attempts``; a task that failed without a run, such as a cancelled one, has had
  the token ``NO_CLAIM`` since then.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.claiming import ATTEMPTS, ID, TAKEOVERS, TOKEN, WAIT, TaskRow
from django_partisan.sql.connection import fetch_all

# The time of a claim is the time when its task was due, plus the wait that the claim returned. The status is
# compared with a column, so that no plan scans all waiting rows.
_RESTORE: Final = """
    WITH forgotten AS MATERIALIZED (
        SELECT task.id, claim.token
          FROM unnest(%s::bigint[], %s::bigint[], %s::float8[], %s::int[], %s::int[], %s::text[])
            AS claim (id, token, wait, attempts, takeovers, status), django_partisan_task AS task
         WHERE task.id = claim.id AND task.claim_token IS NULL AND task.status = claim.status
           AND task.attempts = claim.attempts AND task.takeovers = claim.takeovers
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
    """Restore forgotten claims in place, with their own tokens; return the ids of their tasks.

    ``rows`` are the tasks as they were claimed. A manager whose row is missing restores nothing. Rows locked
    by other transactions, such as one that enqueues a duplicate, are skipped; with ``lock_timeout_ms`` the
    statement waits for them that long, and then raises an error of ``ErrorKind.LOCKED``.
    """
    sql = _SKIP_LOCKED if lock_timeout_ms is None else _WAIT_FOR_LOCKS.format(lock_timeout_ms)
    columns = ([row[column] for row in rows] for column in (ID, TOKEN, WAIT, ATTEMPTS, TAKEOVERS))
    parameters = (*columns, ["new"] * len(rows), manager, manager)
    return {row[0] for row in fetch_all(connection, sql, parameters)}
