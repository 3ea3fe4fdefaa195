"""Claim due tasks for a manager, promote scheduled tasks, and find when the next task is due."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias, cast
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.preparable import Preparable

TaskRow: TypeAlias = tuple[int, str, str, int, int, int, int, int, float, str | None, int, float | None, int]
"""A claimed task: the columns of ``RETURNING``. It is sent through the pipe to the worker as it is."""

# Indexes instead of a named tuple, which would have to be created twice for each task.
ID: Final = 0
PROCESSOR: Final = 1
ARGUMENTS: Final = 2
PRIORITY: Final = 3
ATTEMPTS: Final = 4
RETRIES: Final = 5
POSTPONES: Final = 6
CRASHES: Final = 7
WAIT: Final = 8
"""Seconds from when the task was due to the claim, by the database's clock."""
CONTEXT: Final = 9
TAKEOVERS: Final = 10
"""How often the task was rescued when it was unknown whether it had started."""
EXPIRES: Final = 11
"""Seconds from the claim to the task's expiry, if any; after the intake, a moment of the boot clock."""
TOKEN: Final = 12

_WITHOUT_TOKEN: Final = """
    task.id, task.processor_class, task.arguments::text, task.priority, task.attempts, task.retries,
    task.postpones, task.crashes,
    greatest(date_part('epoch', clock_timestamp() - task.execute_after), 0),
    task.context::text, task.takeovers,
    CASE WHEN task.expires_at IS NOT NULL
         THEN date_part('epoch', task.expires_at - clock_timestamp()) END
"""
RETURNING: Final = f"{_WITHOUT_TOKEN}, task.claim_token"

# The commit does not wait for the disk. A task whose claim PostgreSQL forgets in a crash is due again, and
# ``forgotten`` restores the claim. The setting is local to this transaction, so a pooler does not pass it on
# to other clients. An uncorrelated subquery in WHERE is executed once, before the rows are read.
_ASYNCHRONOUS: Final = "set_config('synchronous_commit', 'off', true)"

# The rows are chosen as an array, once, before anything is updated. So no plan can choose rows twice, and the
# update uses the primary key whatever the statistics are. A manager whose row was deleted is considered dead:
# it claims nothing until it has a new identity. A held row is ready only if a manager of an earlier version,
# which ignores ``held``, has promoted it.
_CLAIM = f"""
    UPDATE django_partisan_task AS task
       SET status = 'in_process', ready = false, held = NULL, claim_token = %s, claimed_by = %s,
           claimed_at = now(), updated_at = now()
     WHERE id = ANY (ARRAY (
        SELECT id FROM django_partisan_task
         WHERE queue_name = %s AND status = 'new' AND ready {{behind}} {{without}}
           AND (SELECT {_ASYNCHRONOUS} FROM django_partisan_manager WHERE id = %s) = 'off'
         ORDER BY priority, id LIMIT %s FOR UPDATE SKIP LOCKED
     ))
    RETURNING {_WITHOUT_TOKEN}
"""
_WITHOUT: Final = "AND NOT processor_class = ANY(%s::text[])"
# By whether a claim starts behind a row, and whether it leaves out processors.
_CLAIMS: Final = {
    (is_behind, is_limited): Preparable(
        "claim",
        _CLAIM.format(
            behind="AND (priority, id) > (%s, %s)" if is_behind else "",
            without=_WITHOUT if is_limited else "",
        ),
    )
    for is_behind in (False, True)
    for is_limited in (False, True)
}

# The search for a ready row has an ORDER BY, because for a plain EXISTS the planner may scan the table.
_CHECK_QUEUE = f"""
    WITH due AS MATERIALIZED (
        SELECT id FROM django_partisan_task
         WHERE queue_name = %s AND status = 'new' AND NOT ready AND held IS NULL AND execute_after <= now()
           AND (SELECT {_ASYNCHRONOUS}) = 'off'
         ORDER BY execute_after LIMIT %s FOR UPDATE SKIP LOCKED
    ), promoted AS (
        UPDATE django_partisan_task AS task SET ready = true FROM due WHERE task.id = due.id RETURNING task.id
    )
    SELECT (SELECT count(*) FROM promoted),
           EXISTS (SELECT FROM promoted)
           OR coalesce((SELECT true FROM django_partisan_task
                         WHERE queue_name = %s AND status = 'new' AND ready {{without}}
                         ORDER BY priority, id LIMIT 1), false),
           (SELECT extract(epoch FROM min(execute_after) - now())::float8 FROM django_partisan_task
             WHERE queue_name = %s AND status = 'new' AND NOT ready AND held IS NULL
               AND execute_after > now())
"""

_SET_SLEEPING = "UPDATE django_partisan_manager SET sleeping = %s WHERE id = %s"

in_running_order = itemgetter(PRIORITY, ID)


class QueueCheck(NamedTuple):
    """How many tasks were promoted, whether any is due now, and in how many seconds the next one is due."""

    promoted: int
    any_due: bool
    next_due_in: float | None


def claim(
    connection: BaseDatabaseWrapper,
    queue: str,
    manager: UUID,
    token: int,
    limit: int,
    behind: tuple[int, int] | None = None,
    without: Sequence[str] = (),
) -> list[TaskRow]:
    """Claim up to ``limit`` due tasks under ``token``; return them in running order.

    ``behind`` is the priority and id of the last task claimed; rows before it are not found. This avoids a
    walk over the index entries of all tasks that were claimed since the last vacuum. ``without`` names
    processors whose tasks are left to other managers.
    """
    sql = _CLAIMS[behind is not None, bool(without)].for_rows(limit)
    left_out = [list(without)] if without else []
    parameters = (token, manager, queue, *(behind or ()), *left_out, manager, limit)
    ours = (token,)  # one object for all rows; reading it from and sending it with each row costs more
    rows = cast(list[TaskRow], [row + ours for row in fetch_all(connection, sql, parameters)])
    rows.sort(key=in_running_order)
    return rows


def check_queue(
    connection: BaseDatabaseWrapper, queue: str, limit: int, without: Sequence[str] = ()
) -> QueueCheck:
    """Promote up to ``limit`` scheduled tasks that are due now, and look for the tasks that are due next.

    Tasks of the processors in ``without`` are promoted, too, but do not count as due.
    """
    sql = _CHECK_QUEUE.format(without=_WITHOUT if without else "")
    left_out = [list(without)] if without else []
    return QueueCheck(*fetch_all(connection, sql, (queue, limit, queue, *left_out, queue))[0])


def set_sleeping(connection: BaseDatabaseWrapper, manager: UUID, sleeping: bool) -> None:
    """Publish whether a manager wants to be notified of new tasks."""
    execute(connection, _SET_SLEEPING, (sleeping, manager))
