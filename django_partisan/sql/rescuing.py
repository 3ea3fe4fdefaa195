"""Rescue the tasks that dead managers held."""

from typing import Final, NamedTuple, cast
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.outcomes import CRASHED, REASON_MANAGER_LOST
from django_partisan.sql.claiming import RETURNING, TaskRow, in_running_order
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.history import appended
from django_partisan.sql.manager_rows import HAS_NO_MANAGER, IS_ALIVE, TASKS_IN_PROCESS

_IS_EXPIRED: Final = f"NOT ({IS_ALIVE})"

# The entry for a run of a dead manager: its host is known, and sometimes when it started.
_APPENDED: Final = appended(
    "task.history",
    f"""jsonb_build_object('outcome', '{CRASHED}', 'reason', '{REASON_MANAGER_LOST}', 'worker',
            (SELECT host FROM django_partisan_manager AS manager WHERE manager.id = abandoned.claimed_by))""",
    "task.attempts + 1",
    "CASE WHEN task.started_at >= task.claimed_at THEN task.started_at END",
)

# Each row is rescued with its counters and its new token at once, so that a lost answer loses neither. A
# manager whose tasks are not all rescued keeps its row: some still run, another transaction locks them, or
# they are too many for one statement.
# A task's holder is compared again when the task is locked: a worker that outlives its manager may have moved
# it meanwhile to a row of its own, which this statement does not see. The status is compared as a column, so
# that whatever the statistics say, no plan can walk over all rows in process for each one that was found.
_RESCUE: Final = f"""
    WITH dead AS (
        SELECT id FROM django_partisan_manager
         WHERE queue_name = %(queue)s AND id <> %(manager)s
           AND (id = ANY(%(proven)s::uuid[]) OR (id = ANY(%(expired)s::uuid[]) AND {_IS_EXPIRED}))
    ), found AS MATERIALIZED (
        SELECT task.id, task.claimed_by, task.status FROM {TASKS_IN_PROCESS}
           AND (task.claimed_by IN (SELECT id FROM dead) OR {HAS_NO_MANAGER})
           AND NOT task.id = ANY(%(running)s::bigint[])
         ORDER BY task.priority, task.id LIMIT %(limit)s
    ), abandoned AS MATERIALIZED (
        SELECT task.id, task.claimed_by, greatest(task.started_at, task.claimed_at) AS began_at,
               coalesce(task.started_at >= task.claimed_at, false)
                   OR task.id = ANY(%(begun)s::bigint[]) AS has_begun,
               coalesce(task.claimed_by = ANY(%(sighted)s::uuid[]), false) AS is_sighted
          FROM found, django_partisan_task AS task
         WHERE task.id = found.id AND task.status = found.status
           AND task.claimed_by IS NOT DISTINCT FROM found.claimed_by
           FOR UPDATE OF task SKIP LOCKED
    ), rescued AS (
        UPDATE django_partisan_task AS task
           SET claim_token = %(token)s, claimed_by = %(manager)s, claimed_at = now(), updated_at = now(),
               attempts = task.attempts + has_begun::int,
               crashes = task.crashes + has_begun::int,
               history = CASE WHEN has_begun THEN {_APPENDED} ELSE task.history END,
               takeovers = least(task.takeovers + (NOT has_begun AND NOT is_sighted)::int, 32767)
          FROM abandoned WHERE task.id = abandoned.id
        RETURNING abandoned.claimed_by,
                  CASE WHEN has_begun THEN extract(epoch FROM now() - began_at)::float8 END, {RETURNING}
    ), removed AS (
        DELETE FROM django_partisan_manager AS manager
         WHERE id IN (SELECT id FROM dead)
           AND (id = ANY(%(proven)s::uuid[]) OR {_IS_EXPIRED})
           AND NOT EXISTS (
                SELECT FROM {TASKS_IN_PROCESS} AND task.claimed_by = manager.id
                   AND task.id NOT IN (SELECT id FROM abandoned)
           )
    )
    SELECT * FROM rescued
"""


class RescuedTask(NamedTuple):
    """A task that was rescued, and the manager that held it (``None`` for one of version 1)."""

    previous_manager: UUID | None
    row: TaskRow
    ran_seconds: float | None = None
    """How long ago it began to run or, if that is unknown, was claimed; ``None`` if it had not begun."""


class Dead(NamedTuple):
    """What is known of the managers whose tasks are to be rescued."""

    proven: list[UUID]
    """Dead for certain."""
    expired: list[UUID]
    """Dead if their lease has expired."""
    sighted: list[UUID]
    """Their presence files show which tasks had begun, and which run."""
    begun: list[int]
    """Ids of the tasks that dead workers had begun."""
    running: list[int]
    """Ids of the tasks that living workers run: these are not rescued."""


def rescue(
    connection: BaseDatabaseWrapper, queue: str, manager: UUID, token: int, dead: Dead, limit: int = 5000
) -> list[RescuedTask]:
    """Claim under ``token``, in place, up to ``limit`` tasks that dead managers held or no manager holds.

    A task that had begun counts a crash; one of which nobody knows whether it had begun, a takeover.
    Managers that hold nothing any more are deleted.
    """
    parameters = {
        "queue": queue,
        "manager": manager,
        "token": token,
        "proven": [str(one) for one in dead.proven],
        "sighted": [str(one) for one in dead.sighted],
        "expired": [str(one) for one in dead.expired],
        "begun": dead.begun,
        "running": dead.running,
        "limit": limit,
    }
    rows = fetch_all(connection, _RESCUE, parameters)
    rescued = [RescuedTask(row[0], cast(TaskRow, row[2:]), row[1]) for row in rows]
    return sorted(rescued, key=lambda task: in_running_order(task.row))
