"""Restore claims that PostgreSQL forgot in a crash, because their commit does not wait for the disk.

A forgotten claim leaves its row as it was before: waiting, without a token, and not written since. Claiming
the task again or settling it would have set ``updated_at`` to a time after the claim. Enqueueing a duplicate
would have set a token that is that of no claim: times would not do, as the enqueuer may change them as well.
A requeue also moves ``execute_after``, from which the time of the claim is computed, but the run that failed
before it has added one to ``attempts``; what failed without a run, such as a cancelled task, has the token of
no claim since.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.claiming import ATTEMPTS, ID, TAKEOVERS, TOKEN, WAIT, TaskRow
from django_partisan.sql.connection import fetch_all

# The time of a claim is when its task was due, plus the wait that the claim returned. The status is compared
# as a column, so that no plan scans all waiting rows.
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

    ``rows`` are tasks as they were claimed. A manager whose row is missing restores nothing. Rows that others
    have locked, such as enqueuers of a duplicate, are skipped. With ``lock_timeout_ms`` they are waited for;
    an error of ``ErrorKind.LOCKED`` is raised if that takes longer.
    """
    sql = _SKIP_LOCKED if lock_timeout_ms is None else _WAIT_FOR_LOCKS.format(lock_timeout_ms)
    columns = ([row[column] for row in rows] for column in (ID, TOKEN, WAIT, ATTEMPTS, TAKEOVERS))
    parameters = (*columns, ["new"] * len(rows), manager, manager)
    return {row[0] for row in fetch_all(connection, sql, parameters)}
