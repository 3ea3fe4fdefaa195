"""Register managers, renew their leases, and rescue the tasks of those that are dead."""

from collections.abc import Sequence
from typing import Final, NamedTuple, cast
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import __version__
from django_partisan.names import WORKER_ROLE
from django_partisan.outcomes import CRASHED, REASON_MANAGER_LOST
from django_partisan.sql.claiming import RETURNING, TaskRow, in_running_order
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.history import appended
from django_partisan.sql.manager_state import AT_NOW, MERGED, Run, worker_state
from django_partisan.sql.pausing import IS_ON
from django_partisan.sql.scheduling import NEXT_IN

IS_ALIVE: Final = "heartbeat_at >= statement_timestamp() - lease_seconds * interval '1 second'"
"""Whether the lease of a row of the managers has not expired."""
SERVES: Final = f"state ->> 'role' IS DISTINCT FROM '{WORKER_ROLE}'"
"""Whether a row of the managers is that of a manager, which claims tasks, and not of a worker without one."""

_REGISTER = f"""
    INSERT INTO django_partisan_manager (id, queue_name, host, pid, lock_name, lease_seconds,
                                         started_at, heartbeat_at, sleeping, version, state,
                                         process_started_at, schedules)
    VALUES (%s, %s, %s, %s, %s, %s, now(), now(), false, %s, %s::jsonb || {AT_NOW},
            coalesce(%s::timestamptz, now() - %s * interval '1 second'), %s::jsonb)
    ON CONFLICT (id) DO UPDATE SET pid = EXCLUDED.pid
    RETURNING process_started_at::text
"""
_DEREGISTER = "DELETE FROM django_partisan_manager WHERE id = %s"

_TASKS = "django_partisan_task AS task WHERE task.queue_name = %(queue)s AND task.status = 'in_process'"
_HAS_NO_MANAGER = (
    "NOT EXISTS (SELECT FROM django_partisan_manager AS manager WHERE manager.id = task.claimed_by)"
)
_IS_EXPIRED = f"NOT ({IS_ALIVE})"

# One statement for an idle manager's whole duty. The rows of other managers come with it.
_HEARTBEAT = f"""
    WITH renewed AS (
        UPDATE django_partisan_manager SET heartbeat_at = now(),
               state = CASE WHEN %(state)s::jsonb IS NULL THEN state ELSE {MERGED} END
         WHERE id = %(manager)s RETURNING id
    )
    SELECT EXISTS (SELECT FROM renewed),
           (SELECT count(*) FROM {_TASKS} AND task.claimed_by = %(manager)s),
           EXISTS (SELECT FROM {_TASKS} AND {_HAS_NO_MANAGER}),
           EXISTS (SELECT FROM django_partisan_cancel_request),
           EXISTS (SELECT FROM django_partisan_pause WHERE queue_name = %(queue)s AND {IS_ON}),
           ticks.next_in, ticks.has_open, ticks.has_any,
           (SELECT string_agg(id::text, ' ' ORDER BY id) FROM django_partisan_manager
             WHERE schedules IS NOT NULL AND (id = %(manager)s OR {IS_ALIVE}))
               || ' ' || ticks.definitions,
           other.id, other.host, other.lock_name, NOT (other.{IS_ALIVE}),
           EXISTS (SELECT FROM {_TASKS} AND task.claimed_by = other.id),
           other.sleeping, other.{SERVES}
      FROM (SELECT {NEXT_IN} AS next_in, coalesce(bool_or(open_tick IS NOT NULL), false) AS has_open,
                   count(*) > 0 AS has_any,
                   coalesce(sum(hashtextextended(concat_ws(' ', name, origin, fingerprint,
                                                           stopped_at IS NULL), 0)), 0)::text AS definitions
              FROM django_partisan_schedule) AS ticks
      LEFT JOIN django_partisan_manager AS other
             ON other.queue_name = %(queue)s AND other.id <> %(manager)s
"""

# Of a dead manager's run is known on which host it was, and sometimes when it started.
_APPENDED = appended(
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
_RESCUE = f"""
    WITH dead AS (
        SELECT id FROM django_partisan_manager
         WHERE queue_name = %(queue)s AND id <> %(manager)s
           AND (id = ANY(%(proven)s::uuid[]) OR (id = ANY(%(expired)s::uuid[]) AND {_IS_EXPIRED}))
    ), found AS MATERIALIZED (
        SELECT task.id, task.claimed_by, task.status FROM {_TASKS}
           AND (task.claimed_by IN (SELECT id FROM dead) OR {_HAS_NO_MANAGER})
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
                SELECT FROM {_TASKS} AND task.claimed_by = manager.id
                   AND task.id NOT IN (SELECT id FROM abandoned)
           )
    )
    SELECT * FROM rescued
"""


_REGISTERED = "SELECT id FROM django_partisan_manager WHERE id = ANY(%s::uuid[])"
_REGISTERED_FILES = "SELECT lock_name FROM django_partisan_manager WHERE lock_name = ANY(%s::uuid[])"
_RENEW = "UPDATE django_partisan_manager SET heartbeat_at = now() WHERE id = %s RETURNING id"
_MOVE = "UPDATE django_partisan_task SET claimed_by = %s WHERE id = %s AND claim_token = %s RETURNING id"


class OtherManager(NamedTuple):
    """Another manager of the queue, as its row names it."""

    id: UUID
    host: str
    lock_name: UUID
    is_expired: bool
    has_tasks: bool
    is_sleeping: bool
    is_serving: bool
    """False for a worker without its manager, which only finishes its run."""


class RescuedTask(NamedTuple):
    """A task that was rescued, and the manager that held it (``None`` for one of version 1)."""

    previous_manager: UUID | None
    row: TaskRow
    ran_seconds: float | None = None
    """How long ago it began to run or, if that is unknown, was claimed; ``None`` if it had not begun."""


class SchedulesSeen(NamedTuple):
    """What a heartbeat finds of schedules."""

    next_in: float | None = None
    """In how many seconds the next tick is due; ``None`` if there is none."""
    has_open: bool = False
    """Whether any tick has a task that is not known to have ended."""
    has_any: bool = False
    """Whether there are schedules."""
    listing: str | None = None
    """The live managers whose settings list schedules, and a hash of which definitions the rows have.

    ``None`` if there are no such managers.
    """


class HeartbeatResult(NamedTuple):
    """What the tables say of this manager and of its queue."""

    is_alive: bool
    """Whether our own row still exists."""
    claimed: int
    """How many tasks in process are ours."""
    has_abandoned: bool
    """Whether tasks are in process under a manager that has no row."""
    has_cancel_requests: bool
    """Whether there are requests to cancel tasks of any queue."""
    others: list[OtherManager]
    is_paused: bool = False
    """Whether the queue is paused."""
    schedules: SchedulesSeen = SchedulesSeen()
    """What the tables hold of schedules."""


class Started(NamedTuple):
    """When the process of a manager started: ``at``, as text, or if that is not known, how long ago."""

    at: str | None
    seconds: float


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


def register(
    connection: BaseDatabaseWrapper,
    manager: UUID,
    queue: str,
    host: str,
    pid: int,
    lock_name: UUID,
    lease_seconds: float,
    is_serving: bool = True,
    run: Run | None = None,
    started: Started | None = None,
    schedules: str | None = None,
) -> str | None:
    """Insert a manager's row; once more is no error, as the first answer may have been lost.

    ``started`` is when its process did, and ``schedules`` are names and fingerprints of those in its
    settings, as JSON text. Return the former as text, for ``started.at`` of the next registration. A worker
    without its manager registers itself as one that is not ``is_serving``, with its ``run``.
    """
    state = None if is_serving else worker_state(run)
    columns = (manager, queue, host, pid, lock_name, lease_seconds, __version__, state)
    parameters = (*columns, *(started or (None, None)), schedules)
    started_at: str | None = fetch_all(connection, _REGISTER, parameters)[0][0]
    return started_at


def deregister(connection: BaseDatabaseWrapper, manager: UUID) -> None:
    """Delete a manager's row."""
    execute(connection, _DEREGISTER, (manager,))


def heartbeat(
    connection: BaseDatabaseWrapper, queue: str, manager: UUID, state: str | None = None
) -> HeartbeatResult:
    """Renew a manager's lease, and return the state of its queue.

    ``state`` is what it publishes: see ``manager_state``.
    """
    rows = fetch_all(connection, _HEARTBEAT, {"queue": queue, "manager": manager, "state": state})
    others = [OtherManager(*row[9:]) for row in rows if row[9] is not None]
    is_alive, claimed, has_abandoned, has_cancel_requests, is_paused = rows[0][:5]
    seen = SchedulesSeen(*rows[0][5:9])
    return HeartbeatResult(is_alive, claimed, has_abandoned, has_cancel_requests, others, is_paused, seen)


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


def registered(connection: BaseDatabaseWrapper, managers: Sequence[UUID]) -> set[UUID]:
    """Return which of some managers have a row."""
    if not managers:
        return set()
    return {row[0] for row in fetch_all(connection, _REGISTERED, ([str(one) for one in managers],))}


def registered_files(connection: BaseDatabaseWrapper, names: Sequence[UUID]) -> set[UUID]:
    """Return those of the presence files whose manager has a row."""
    if not names:
        return set()
    return {row[0] for row in fetch_all(connection, _REGISTERED_FILES, ([str(one) for one in names],))}


def renew(connection: BaseDatabaseWrapper, manager: UUID) -> bool:
    """Renew a lease; return False if the row was removed because it had expired."""
    return bool(fetch_all(connection, _RENEW, (manager,)))


def move(connection: BaseDatabaseWrapper, manager: UUID, task_id: int, token: int) -> bool:
    """Move a task to another manager's row under the same claim; return False if the claim was lost."""
    return bool(fetch_all(connection, _MOVE, (manager, task_id, token)))
