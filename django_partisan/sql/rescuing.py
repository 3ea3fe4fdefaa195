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

# The history entry for a run of a dead manager: the host is known, and sometimes when the run started.
_APPENDED: Final = appended(
    "task.history",
    f"""jsonb_build_object('outcome', '{CRASHED}', 'reason', '{REASON_MANAGER_LOST}', 'worker',
            (SELECT host FROM django_partisan_manager AS manager WHERE manager.id = abandoned.claimed_by))""",
    "task.attempts + 1",
    "CASE WHEN task.started_at >= task.claimed_at THEN task.started_at END",
)

# The counters and the new token of a row are written together, so that a lost answer loses neither. A manager
# whose tasks are not all rescued keeps its row: some of them still run, another transaction locks them, or
# they are too many for one statement.
# A task's holder is compared again when the task is locked, because a worker that outlives its manager may
# have moved the task to a row of its own, which this statement does not see. The status is compared with a
# column, so that whatever the statistics are, no plan can scan all rows in process for each row found.
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
               coalesce(task.claimed_by = ANY(%(inspected)s::uuid[]), false) AS is_inspected
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
               takeovers = least(task.takeovers + (NOT has_begun AND NOT is_inspected)::int, 32767)
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
    """Seconds since it started or, if that is unknown, since its claim; ``None`` if it had not started."""


class DeadManagers(NamedTuple):
    """The managers whose tasks are rescued, and the known state of these tasks."""

    proven: list[UUID]
    """Managers that are certainly dead."""
    expired: list[UUID]
    """Managers that are dead if their lease has expired."""
    inspected: list[UUID]
    """Managers whose presence files show which tasks had started, and which are running."""
    begun: list[int]
    """Ids of the tasks that dead workers had started."""
    running: list[int]
    """Ids of the tasks that live workers are running; these are not rescued."""


def rescue(
    connection: BaseDatabaseWrapper,
    queue: str,
    manager: UUID,
    token: int,
    dead: DeadManagers,
    limit: int = 5000,
) -> list[RescuedTask]:
    """Rescue up to ``limit`` tasks that dead managers held or no manager holds: claim them under ``token``.

    For a task that had started, a crash is counted; if it is unknown whether it had started, a takeover. The
    rows of dead managers that no longer hold any task are deleted.
    """
    parameters = {
        "queue": queue,
        "manager": manager,
        "token": token,
        "proven": [str(one) for one in dead.proven],
        "inspected": [str(one) for one in dead.inspected],
        "expired": [str(one) for one in dead.expired],
        "begun": dead.begun,
        "running": dead.running,
        "limit": limit,
    }
    rows = fetch_all(connection, _RESCUE, parameters)
    rescued = [RescuedTask(row[0], cast(TaskRow, row[2:]), row[1]) for row in rows]
    return sorted(rescued, key=lambda task: in_running_order(task.row))
