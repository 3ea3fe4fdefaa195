"""Register managers, renew their leases, and rescue the tasks of those that are dead."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, cast
from uuid import UUID

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.claiming import NEXT_TOKEN, RETURNING, TaskRow, in_running_order
from django_partisan.sql.connection import execute, fetch_all

_REGISTER = """
    INSERT INTO django_partisan_manager (id, queue_name, host, pid, lock_name, lease_seconds,
                                         started_at, heartbeat_at, sleeping)
    VALUES (%s, %s, %s, %s, %s, %s, now(), now(), false)
    ON CONFLICT (id) DO NOTHING
"""
_DEREGISTER = "DELETE FROM django_partisan_manager WHERE id = %s"

# Tasks in process under a manager that has no row (or, from version 1, under none).
_ABANDONED = """
    FROM django_partisan_task AS task
   WHERE task.queue_name = %s AND task.status = 'in_process'
     AND NOT EXISTS (SELECT FROM django_partisan_manager AS manager WHERE manager.id = task.claimed_by)
"""

# One statement for an idle manager's whole duty. The rows of other managers come with it.
_HEARTBEAT = f"""
    WITH renewed AS (UPDATE django_partisan_manager SET heartbeat_at = now() WHERE id = %s RETURNING id)
    SELECT EXISTS (SELECT FROM renewed), EXISTS (SELECT {_ABANDONED}),
           other.id, other.host, other.lock_name,
           other.heartbeat_at < now() - other.lease_seconds * interval '1 second'
      FROM (SELECT) AS one
      LEFT JOIN django_partisan_manager AS other ON other.queue_name = %s AND other.id <> %s
"""
_DELETE_DEAD = """
    DELETE FROM django_partisan_manager
     WHERE queue_name = %s AND id <> %s
       AND (id = ANY(%s::uuid[]) OR heartbeat_at < now() - lease_seconds * interval '1 second')
"""
_RESCUE = f"""
    WITH abandoned AS MATERIALIZED (
        SELECT task.id, task.claimed_by {_ABANDONED} FOR UPDATE OF task SKIP LOCKED
    )
    UPDATE django_partisan_task AS task
       SET claim_token = {NEXT_TOKEN}, claimed_by = %s, claimed_at = now(), updated_at = now(),
           attempts = task.attempts + (task.id = ANY(%s::bigint[]))::int,
           crashes = task.crashes + (task.id = ANY(%s::bigint[]))::int
      FROM abandoned WHERE task.id = abandoned.id
    RETURNING abandoned.claimed_by, {RETURNING}
"""
_KEEP = """
    UPDATE django_partisan_task SET claimed_by = %s
     WHERE queue_name = %s AND status = 'in_process' AND claimed_by IN (%s, %s)
    RETURNING id
"""

# Tasks that a claim made ours whose answer was lost with the connection.
_CLAIM_UNKNOWN = f"""
    UPDATE django_partisan_task AS task SET claim_token = {NEXT_TOKEN}, claimed_at = now(), updated_at = now()
     WHERE task.queue_name = %s AND task.status = 'in_process' AND task.claimed_by = %s
       AND NOT task.id = ANY(%s::bigint[])
    RETURNING {RETURNING}
"""


class OtherManager(NamedTuple):
    """Another manager of the queue, as its row names it."""

    id: UUID
    host: str
    lock_name: UUID
    is_expired: bool


class RescuedTask(NamedTuple):
    """A task that was rescued, and the manager that held it (``None`` for one of version 1)."""

    previous_manager: UUID | None
    row: TaskRow


class HeartbeatResult(NamedTuple):
    """Whether our own row still exists, whether tasks are abandoned, and who else serves the queue."""

    is_alive: bool
    has_abandoned: bool
    others: list[OtherManager]
    rescued: Sequence[RescuedTask] = ()
    """The tasks that were rescued because of it."""


def register(
    connection: BaseDatabaseWrapper,
    manager: UUID,
    queue: str,
    host: str,
    pid: int,
    lock_name: UUID,
    lease_seconds: float,
) -> None:
    """Insert a manager's row; once more is no error, as the first answer may have been lost."""
    execute(connection, _REGISTER, (manager, queue, host, pid, lock_name, lease_seconds))


def deregister(connection: BaseDatabaseWrapper, manager: UUID) -> None:
    """Delete a manager's row."""
    execute(connection, _DEREGISTER, (manager,))


def heartbeat(connection: BaseDatabaseWrapper, queue: str, manager: UUID) -> HeartbeatResult:
    """Renew a manager's lease, and return what else is to be known of its queue."""
    rows = fetch_all(connection, _HEARTBEAT, (manager, queue, queue, manager))
    others = [OtherManager(*row[2:]) for row in rows if row[2] is not None]
    return HeartbeatResult(rows[0][0], rows[0][1], others)


def rescue(
    connection: BaseDatabaseWrapper, queue: str, manager: UUID, dead: Iterable[UUID], begun: Iterable[int]
) -> list[RescuedTask]:
    """Claim, in place, what no living manager holds; those in ``begun`` count a crash.

    Managers in ``dead``, and those whose lease has expired, are deleted in the same transaction, so
    that ``begun`` is not lost if the rescue fails.
    """
    ids = list(begun)
    with _one_transaction(connection):
        execute(connection, _DELETE_DEAD, (queue, manager, [str(one) for one in dead]))
        rows = fetch_all(connection, _RESCUE, (queue, manager, ids, ids))
    rescued = [RescuedTask(row[0], cast(TaskRow, row[1:])) for row in rows]
    return sorted(rescued, key=lambda task: in_running_order(task.row))


def keep(connection: BaseDatabaseWrapper, queue: str, manager: UUID, previous: UUID) -> set[int]:
    """Take a manager's own tasks along to its new identity; return the ids of those nobody else took.

    Asked once more, as the first answer may have been lost, it returns the same.
    """
    return {row[0] for row in fetch_all(connection, _KEEP, (manager, queue, previous, manager))}


def claim_unknown(
    connection: BaseDatabaseWrapper, queue: str, manager: UUID, known: Sequence[int]
) -> list[TaskRow]:
    """Claim again, and return, what is ours by the table but not among the ``known`` ids."""
    rows = cast(list[TaskRow], fetch_all(connection, _CLAIM_UNKNOWN, (queue, manager, list(known))))
    return sorted(rows, key=in_running_order)


@contextmanager
def _one_transaction(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Commit at the end; our connections are not among Django's, so ``atomic()`` does not know them."""
    if connection.in_atomic_block:
        yield  # the caller's, in a test
        return
    connection.set_autocommit(False)
    try:
        yield
        connection.commit()
    except BaseException:
        with suppress(Error):  # a dead connection is rolled back by the server
            connection.rollback()
        raise
    finally:
        with suppress(Error):
            connection.set_autocommit(True)


_RENEW = "UPDATE django_partisan_manager SET heartbeat_at = now() WHERE id = %s RETURNING id"
_MOVE = "UPDATE django_partisan_task SET claimed_by = %s WHERE id = %s AND claim_token = %s RETURNING id"


def renew(connection: BaseDatabaseWrapper, manager: UUID) -> bool:
    """Renew a lease; return False if the row was removed because it had expired."""
    return bool(fetch_all(connection, _RENEW, (manager,)))


def move(connection: BaseDatabaseWrapper, manager: UUID, task_id: int, token: int) -> bool:
    """Move a task to another manager's row under the same claim; return False if the claim was lost."""
    return bool(fetch_all(connection, _MOVE, (manager, task_id, token)))
