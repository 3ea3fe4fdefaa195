"""Find, restore, replace and keep the claims of a manager in the table."""

from collections.abc import Collection, Sequence
from typing import TypeAlias, cast
from uuid import UUID

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.claiming import RETURNING, TaskRow, in_running_order
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.errors import ErrorKind, kind_of
from django_partisan.sql.forgotten import restore

Pair: TypeAlias = tuple[int, int]
"""The id of a task and the token of its claim."""

_OWN = "queue_name = %s AND status = 'in_process' AND claimed_by"
_CLAIMS = f"SELECT id, claim_token FROM django_partisan_task WHERE {_OWN} = %s"
_CLAIMS_UNDER = f"{_CLAIMS} AND claim_token = ANY(%s)"
_KEEP = f"UPDATE django_partisan_task SET claimed_by = %s WHERE {_OWN} IN (%s, %s) RETURNING id"

# A new token, so that a late answer to the first claim cannot add the row a second time. A row that others
# lock is skipped, because claims use the same connection and must not wait for it.
_CLAIM_AGAIN = f"""
    WITH free AS MATERIALIZED (
        SELECT task.id
          FROM unnest(%s::bigint[], %s::bigint[]) AS found (id, token), django_partisan_task AS task
         WHERE task.id = found.id AND task.claim_token = found.token AND task.claimed_by = %s
           FOR UPDATE OF task SKIP LOCKED
    )
    UPDATE django_partisan_task AS task SET claim_token = %s, claimed_at = now(), updated_at = now()
      FROM free WHERE task.id = free.id
    RETURNING {RETURNING}
"""

# The wait for a row that others lock is short, because other calls wait for this one.
_MARK_BEGUN = """
    SET LOCAL lock_timeout = 200;
    UPDATE django_partisan_task SET started_at = clock_timestamp()
     WHERE id = %s AND claim_token = %s
    RETURNING id
"""


def claims(
    connection: BaseDatabaseWrapper, queue: str, manager: UUID, tokens: Collection[int] | None = None
) -> list[Pair]:
    """Return the ids and tokens of a manager's tasks in process: of all, or of those under ``tokens``."""
    if tokens is None:
        return cast(list[Pair], fetch_all(connection, _CLAIMS, (queue, manager)))
    return cast(list[Pair], fetch_all(connection, _CLAIMS_UNDER, (queue, manager, list(tokens))))


def compare(
    connection: BaseDatabaseWrapper,
    queue: str,
    manager: UUID,
    held: Sequence[TaskRow],
    lock_timeout_ms: int = 200,
) -> list[Pair]:
    """Restore forgotten claims of the tasks ``held``; return the ids and tokens of all the manager's tasks.

    Waits up to ``lock_timeout_ms`` for locked rows, because the locks of promotions end within milliseconds.
    Rows that are locked for longer, for example by an enqueuer of a duplicate, are skipped.
    """
    if held:
        try:
            restore(connection, manager, held, lock_timeout_ms)
        except OperationalError as error:
            if kind_of(error) is not ErrorKind.LOCKED:
                raise
            restore(connection, manager, held)
    return claims(connection, queue, manager)


def claim_again(
    connection: BaseDatabaseWrapper, manager: UUID, pairs: Sequence[Pair], token: int
) -> list[TaskRow]:
    """Replace the tokens of a manager's tasks with ``token``; return the tasks in running order.

    Tasks whose rows other transactions lock are skipped.
    """
    ids, tokens = [task_id for task_id, _ in pairs], [old for _, old in pairs]
    rows = cast(list[TaskRow], fetch_all(connection, _CLAIM_AGAIN, (ids, tokens, manager, token)))
    return sorted(rows, key=in_running_order)


def move_claims(connection: BaseDatabaseWrapper, queue: str, manager: UUID, previous: UUID) -> set[int]:
    """Move a manager's tasks to its new identity; return the ids of those that no other manager took over.

    A second call, after a lost answer, returns the same ids.
    """
    return {row[0] for row in fetch_all(connection, _KEEP, (manager, queue, previous, manager))}


def mark_begun(connection: BaseDatabaseWrapper, task_id: int, token: int) -> bool:
    """Record in the row that the task starts under this claim; return False if the claim was lost.

    Raises an error of ``ErrorKind.LOCKED`` if another transaction locks the row.
    """
    return bool(fetch_all(connection, _MARK_BEGUN, (task_id, token)))
