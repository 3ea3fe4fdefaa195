"""Say that a manager lives, find those that do not, and take over what they held."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import NamedTuple, cast
from uuid import UUID

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.claiming import ID, NEXT_TOKEN, PRIORITY, RETURNING, TaskRow
from django_partisan.sql.connection import execute, fetch_all

_REGISTER = """
    INSERT INTO django_partisan_manager (id, queue_name, host, pid, lock_name, lease_seconds,
                                         started_at, heartbeat_at, sleeping)
    VALUES (%s, %s, %s, %s, %s, %s, now(), now(), false)
    ON CONFLICT (id) DO NOTHING
"""
_RESIGN = "DELETE FROM django_partisan_manager WHERE id = %s"

# In process under a manager that has no row (or, from version 1, under none): nobody else looks after it.
_ORPHANS = """
    FROM django_partisan_task AS task
   WHERE task.queue_name = %s AND task.status = 'in_process'
     AND NOT EXISTS (SELECT FROM django_partisan_manager AS manager WHERE manager.id = task.claimed_by)
"""

# One statement for an idle manager's whole duty. The rows of colleagues come with it.
_BEAT = f"""
    WITH beat AS (UPDATE django_partisan_manager SET heartbeat_at = now() WHERE id = %s RETURNING id)
    SELECT EXISTS (SELECT FROM beat), EXISTS (SELECT {_ORPHANS}),
           colleague.id, colleague.host, colleague.lock_name,
           colleague.heartbeat_at < now() - colleague.lease_seconds * interval '1 second'
      FROM (SELECT) AS one
      LEFT JOIN django_partisan_manager AS colleague ON colleague.queue_name = %s AND colleague.id <> %s
"""
_BURY = """
    DELETE FROM django_partisan_manager
     WHERE queue_name = %s AND id <> %s
       AND (id = ANY(%s::uuid[]) OR heartbeat_at < now() - lease_seconds * interval '1 second')
"""
_ADOPT = f"""
    WITH orphan AS MATERIALIZED (
        SELECT task.id, task.claimed_by {_ORPHANS} FOR UPDATE OF task SKIP LOCKED
    )
    UPDATE django_partisan_task AS task
       SET claim_token = {NEXT_TOKEN}, claimed_by = %s, claimed_at = now(), updated_at = now(),
           attempts = task.attempts + (task.id = ANY(%s::bigint[]))::int,
           crashes = task.crashes + (task.id = ANY(%s::bigint[]))::int
      FROM orphan WHERE task.id = orphan.id
    RETURNING orphan.claimed_by, {RETURNING}
"""
_KEEP = """
    UPDATE django_partisan_task SET claimed_by = %s
     WHERE queue_name = %s AND status = 'in_process' AND claimed_by IN (%s, %s)
    RETURNING id
"""

# A claim whose answer was lost with the connection: the rows are ours, and nobody here knows it.
_UNHEARD = f"""
    UPDATE django_partisan_task AS task SET claim_token = {NEXT_TOKEN}, claimed_at = now(), updated_at = now()
     WHERE task.queue_name = %s AND task.status = 'in_process' AND task.claimed_by = %s
       AND NOT task.id = ANY(%s::bigint[])
    RETURNING {RETURNING}
"""


class Colleague(NamedTuple):
    """Another manager of the queue, as its row names it."""

    id: UUID
    host: str
    lock_name: UUID
    is_expired: bool


class Beat(NamedTuple):
    """What a heartbeat found: is our own row still there, are there orphans, who else serves the queue."""

    is_alive: bool
    has_orphans: bool
    colleagues: list[Colleague]


class Orphan(NamedTuple):
    """A task taken over, and the manager that held it (``None`` for one of version 1)."""

    previous_manager: UUID | None
    row: TaskRow


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


def beat(connection: BaseDatabaseWrapper, queue: str, manager: UUID) -> Beat:
    """Renew a manager's lease and look around."""
    rows = fetch_all(connection, _BEAT, (manager, queue, queue, manager))
    return Beat(rows[0][0], rows[0][1], [Colleague(*row[2:]) for row in rows if row[2] is not None])


def resign(connection: BaseDatabaseWrapper, manager: UUID) -> None:
    """Delete a manager's row."""
    execute(connection, _RESIGN, (manager,))


def bury(connection: BaseDatabaseWrapper, queue: str, manager: UUID, gone: Iterable[UUID]) -> None:
    """Delete the rows of other managers that are in ``gone`` or whose lease ran out."""
    execute(connection, _BURY, (queue, manager, [str(one) for one in gone]))


def take_over(
    connection: BaseDatabaseWrapper, queue: str, manager: UUID, gone: Iterable[UUID], begun: Sequence[int]
) -> list[Orphan]:
    """Bury the dead and adopt what they held: both, or neither, so that what had begun is not forgotten."""
    with _one_transaction(connection):
        bury(connection, queue, manager, gone)
        return adopt(connection, queue, manager, begun)


def adopt(connection: BaseDatabaseWrapper, queue: str, manager: UUID, begun: Sequence[int]) -> list[Orphan]:
    """Claim, in place, what no living manager holds; those in ``begun`` count a crash."""
    ids = list(begun)
    orphans = [
        Orphan(row[0], cast(TaskRow, row[1:]))
        for row in fetch_all(connection, _ADOPT, (queue, manager, ids, ids))
    ]
    orphans.sort(key=lambda orphan: (orphan.row[PRIORITY], orphan.row[ID]))
    return orphans


def keep(connection: BaseDatabaseWrapper, queue: str, manager: UUID, previous: UUID) -> set[int]:
    """Take a manager's own tasks along to its new identity; return the ids of those nobody else took.

    Asked once more, as the first answer may have been lost, it returns the same.
    """
    return {row[0] for row in fetch_all(connection, _KEEP, (manager, queue, previous, manager))}


def unheard(
    connection: BaseDatabaseWrapper, queue: str, manager: UUID, known: Sequence[int]
) -> list[TaskRow]:
    """Claim anew, and return, what is ours by the table but not among the ``known`` ids."""
    rows = cast(list[TaskRow], fetch_all(connection, _UNHEARD, (queue, manager, list(known))))
    return sorted(rows, key=lambda row: (row[PRIORITY], row[ID]))


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
