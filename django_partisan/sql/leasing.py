"""Register managers, and renew their leases; ``rescuing`` takes over the tasks of dead managers."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import __version__
from django_partisan.outcomes import REASON_UNREGISTERED
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.manager_rows import HAS_NO_MANAGER, IS_ALIVE, SERVES, TASKS_IN_PROCESS
from django_partisan.sql.manager_state import AT_NOW, MERGED, Run, worker_state
from django_partisan.sql.pausing import IS_ON
from django_partisan.sql.scheduling import NEXT_IN

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

# This one statement is all that an idle manager needs. It returns the rows of the other managers, too.
# The search for a held row has an ORDER BY, because for a plain EXISTS the planner may scan the table.
_HEARTBEAT = f"""
    WITH renewed AS (
        UPDATE django_partisan_manager SET heartbeat_at = now(),
               state = CASE WHEN %(state)s::jsonb IS NULL THEN state ELSE {MERGED} END
         WHERE id = %(manager)s RETURNING id
    )
    SELECT EXISTS (SELECT FROM renewed),
           (SELECT count(*) FROM {TASKS_IN_PROCESS} AND task.claimed_by = %(manager)s),
           EXISTS (SELECT FROM {TASKS_IN_PROCESS} AND {HAS_NO_MANAGER}),
           EXISTS (SELECT FROM django_partisan_cancel_request),
           EXISTS (SELECT FROM django_partisan_pause WHERE queue_name = %(queue)s AND {IS_ON}),
           coalesce((SELECT true FROM django_partisan_task
                      WHERE queue_name = %(queue)s AND held = '{REASON_UNREGISTERED}' AND status = 'new'
                      ORDER BY processor_class LIMIT 1), false),
           ticks.next_in, ticks.has_open, ticks.has_any,
           (SELECT string_agg(id::text, ' ' ORDER BY id) FROM django_partisan_manager
             WHERE schedules IS NOT NULL AND (id = %(manager)s OR {IS_ALIVE}))
               || ' ' || ticks.definitions,
           other.id, other.host, other.lock_name, NOT (other.{IS_ALIVE}),
           EXISTS (SELECT FROM {TASKS_IN_PROCESS} AND task.claimed_by = other.id),
           other.sleeping, other.{SERVES}
      FROM (SELECT {NEXT_IN} AS next_in, coalesce(bool_or(open_tick IS NOT NULL), false) AS has_open,
                   count(*) > 0 AS has_any,
                   coalesce(sum(hashtextextended(concat_ws(' ', name, origin, fingerprint,
                                                           stopped_at IS NULL), 0)), 0)::text AS definitions
              FROM django_partisan_schedule) AS ticks
      LEFT JOIN django_partisan_manager AS other
             ON other.queue_name = %(queue)s AND other.id <> %(manager)s
"""

_REGISTERED = "SELECT id FROM django_partisan_manager WHERE id = ANY(%s::uuid[])"
_REGISTERED_FILES = "SELECT lock_name FROM django_partisan_manager WHERE lock_name = ANY(%s::uuid[])"
_RENEW = "UPDATE django_partisan_manager SET heartbeat_at = now() WHERE id = %s RETURNING id"
_MOVE = "UPDATE django_partisan_task SET claimed_by = %s WHERE id = %s AND claim_token = %s RETURNING id"


class OtherManager(NamedTuple):
    """Another manager of the queue, as described by its row."""

    id: UUID
    host: str
    lock_name: UUID
    is_expired: bool
    has_tasks: bool
    is_sleeping: bool
    is_serving: bool
    """False for a worker without its manager, which only finishes its run."""


class SchedulesState(NamedTuple):
    """The state of the schedules, as read by a heartbeat."""

    next_in: float | None = None
    """Seconds until the next tick is due; ``None`` if there is none."""
    has_open: bool = False
    """Whether any tick has a task that is not known to have ended."""
    has_any: bool = False
    """Whether there are schedules."""
    listing: str | None = None
    """The live managers whose settings list schedules, and a hash of the definitions in the rows.

    ``None`` if there are no such managers.
    """


class HeartbeatResult(NamedTuple):
    """The state of a manager and of its queue, as read by a heartbeat."""

    is_alive: bool
    """Whether the manager's own row still exists."""
    claimed: int
    """How many tasks in process the manager holds."""
    has_abandoned: bool
    """Whether tasks are in process under a manager that has no row."""
    has_cancel_requests: bool
    """Whether there are requests to cancel tasks of any queue."""
    others: list[OtherManager]
    is_paused: bool = False
    """Whether the queue is paused."""
    has_held: bool = False
    """Whether tasks of the queue are held because their processor was not registered."""
    schedules: SchedulesState = SchedulesState()
    """The state of the schedules."""


class ProcessStart(NamedTuple):
    """When the process of a manager started: ``at``, as text, or if that is unknown, ``seconds`` ago."""

    at: str | None
    seconds: float


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
    started: ProcessStart | None = None,
    schedules: str | None = None,
) -> str | None:
    """Insert a manager's row; return when its process started, as text.

    A second call is not an error, because the first answer may have been lost. ``started`` is when the
    process started; the returned text is ``started.at`` of the next registration. ``schedules`` contains the
    names and fingerprints of the schedules in its settings, as JSON text. A worker without its manager
    registers itself with ``is_serving=False`` and its ``run``.
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

    ``state`` is the JSON text that it publishes: see ``manager_state``.
    """
    rows = fetch_all(connection, _HEARTBEAT, {"queue": queue, "manager": manager, "state": state})
    others = [OtherManager(*row[10:]) for row in rows if row[10] is not None]
    is_alive, claimed, has_abandoned, has_cancel_requests, is_paused, has_held = rows[0][:6]
    return HeartbeatResult(
        is_alive,
        claimed,
        has_abandoned,
        has_cancel_requests,
        others,
        is_paused,
        has_held,
        SchedulesState(*rows[0][6:10]),
    )


def registered(connection: BaseDatabaseWrapper, managers: Sequence[UUID]) -> set[UUID]:
    """Return those of ``managers`` that have a row."""
    if not managers:
        return set()
    return {row[0] for row in fetch_all(connection, _REGISTERED, ([str(one) for one in managers],))}


def registered_files(connection: BaseDatabaseWrapper, names: Sequence[UUID]) -> set[UUID]:
    """Return those of the presence files ``names`` whose manager has a row."""
    if not names:
        return set()
    return {row[0] for row in fetch_all(connection, _REGISTERED_FILES, ([str(one) for one in names],))}


def renew(connection: BaseDatabaseWrapper, manager: UUID) -> bool:
    """Renew a lease; return False if the row was removed because it had expired."""
    return bool(fetch_all(connection, _RENEW, (manager,)))


def move_task(connection: BaseDatabaseWrapper, manager: UUID, task_id: int, token: int) -> bool:
    """Move a task to another manager's row under the same claim; return False if the claim was lost."""
    return bool(fetch_all(connection, _MOVE, (manager, task_id, token)))
