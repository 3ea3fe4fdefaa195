"""Read the situation of one task, from which ``why`` builds its sentence.

Every statement is bounded, whatever the tables hold: rows are read by key, and tasks ahead are counted in the
index for claims, up to ``AHEAD_AT_MOST``.
"""

from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import arguments
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.manager_rows import IS_ALIVE, SERVES
from django_partisan.sql.manager_state import PublishedManager, published_manager

AHEAD_AT_MOST: Final = 10_000
MESSAGE_CHARACTERS: Final = 200
ARGUMENTS_BYTES: Final = 1_000_000
"""Larger arguments are not compared with those of other tasks."""

_TASK: Final = f"""
    SELECT id, status, queue_name, processor_class, priority, attempts, retries, postpones, held,
           execute_after, extract(epoch FROM execute_after - statement_timestamp())::float8,
           claimed_by, extract(epoch FROM statement_timestamp() - claimed_at)::float8, finished_at, worker,
           error_reason, error_type, left(error_message, {MESSAGE_CHARACTERS}),
           history -> -1 ->> 'outcome', history -> -1 ->> 'comment',
           extract(epoch FROM statement_timestamp() - unregistered_since)::float8,
           EXISTS (SELECT FROM django_partisan_cancel_request WHERE task_id = task.id),
           expires_at, extract(epoch FROM expires_at - statement_timestamp())::float8, takeovers,
           CASE WHEN status = 'new' AND unique_key IS NULL AND pg_column_size(arguments) <= {ARGUMENTS_BYTES}
                THEN arguments::text END
      FROM django_partisan_task AS task WHERE id = %s
"""

_PAUSE: Final = """
    SELECT until, comment FROM django_partisan_pause
     WHERE queue_name = %s AND processor_class = '' AND (until IS NULL OR until > statement_timestamp())
"""

_MANAGERS: Final = f"""
    SELECT count(*), count(*) FILTER (WHERE state ->> 'draining' = 'true'),
           count(*) FILTER (WHERE state -> 'processors' ? %s),
           count(*) FILTER (WHERE state -> 'processors' IS NULL)
      FROM django_partisan_manager
     WHERE queue_name = %s AND {SERVES} AND {IS_ALIVE}
"""

_AHEAD: Final = f"""
    SELECT count(*) FROM (
        SELECT FROM django_partisan_task
         WHERE queue_name = %s AND status = 'new' AND ready AND (priority, id) < (%s, %s)
         ORDER BY priority, id LIMIT {AHEAD_AT_MOST + 1}) AS found
"""

_DUPLICATE: Final = (
    "SELECT id FROM django_partisan_task WHERE unique_key = %s AND status = 'new' AND id <> %s"
)

_LATEST_ID: Final = """
    SELECT CASE WHEN has_sequence_privilege(name, 'USAGE') OR has_sequence_privilege(name, 'SELECT')
                THEN pg_sequence_last_value(name::regclass) END
      FROM (SELECT pg_get_serial_sequence('django_partisan_task', 'id') AS name) AS of_the_ids
     WHERE name IS NOT NULL
"""


class TaskRecord(NamedTuple):
    """The row of a task; moments also as seconds, by the database's clock."""

    id: int
    status: str
    queue: str
    processor: str
    priority: int
    attempts: int
    retries: int
    postpones: int
    held: str | None
    due_at: datetime
    due_in_seconds: float
    """Negative if it is due already."""
    claimed_by: UUID | None
    claimed_seconds: float | None
    """Seconds since it was claimed."""
    finished_at: datetime | None
    worker: str | None
    error_reason: str | None
    error_type: str | None
    error_message: str | None
    last_outcome: str | None
    """The outcome of the last entry of its history."""
    last_comment: str | None
    unregistered_seconds: float | None
    """How long it has been held because its processor is not registered in any manager."""
    is_cancel_requested: bool
    expires_at: datetime | None
    expires_in_seconds: float | None
    takeovers: int


class PauseInForce(NamedTuple):
    """The pause of a queue; ``until`` is ``None`` if somebody must resume it."""

    until: datetime | None
    comment: str


class ManagerCounts(NamedTuple):
    """The numbers of live managers of a queue: all, those that drain, and those that can run a processor."""

    managers: int = 0
    draining: int = 0
    able: int = 0
    unpublished: int = 0
    """How many have not published which processors they can run."""


class Situation(NamedTuple):
    """A task and its environment; values that do not matter for its status have their defaults."""

    task: TaskRecord
    serving: ManagerCounts
    pause: PauseInForce | None = None
    ahead: int = 0
    """How many due tasks of the queue are claimed before it, up to ``AHEAD_AT_MOST`` and one more."""
    duplicate: int | None = None
    """A waiting task with the same arguments, which has the unique key."""
    holder: PublishedManager | None = None
    """The manager or worker that holds it."""


def situation_of(connection: BaseDatabaseWrapper, task_id: int) -> Situation | None:
    """Return the situation of a task; ``None`` if there is no row."""
    rows = fetch_all(connection, _TASK, (task_id,))
    if not rows:
        return None
    *columns, arguments_text = rows[0]
    task = TaskRecord(*columns)
    [serving] = fetch_all(connection, _MANAGERS, (task.processor, task.queue))
    situation = Situation(task, ManagerCounts(*serving))
    if task.status == "new":
        return situation._replace(
            pause=_pause(connection, task),
            ahead=_ahead(connection, task) if task.due_in_seconds <= 0 and not task.held else 0,
            duplicate=_duplicate(connection, task, arguments_text),
        )
    if task.status == "in_process" and task.claimed_by is not None:
        return situation._replace(holder=published_manager(connection, task.claimed_by))
    return situation


def latest_id(connection: BaseDatabaseWrapper) -> int | None:
    """Return the highest id that a task has had; ``None`` if it is unknown."""
    rows = fetch_all(connection, _LATEST_ID)
    return rows[0][0] if rows else None


def _pause(connection: BaseDatabaseWrapper, task: TaskRecord) -> PauseInForce | None:
    rows = fetch_all(connection, _PAUSE, (task.queue,))
    return PauseInForce(*rows[0]) if rows else None


def _ahead(connection: BaseDatabaseWrapper, task: TaskRecord) -> int:
    return int(fetch_all(connection, _AHEAD, (task.queue, task.priority, task.id))[0][0])


def _duplicate(connection: BaseDatabaseWrapper, task: TaskRecord, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        args, kwargs = arguments.decode(text)
        encoded = arguments.encode(task.processor, tuple(args), {**kwargs})
        key = arguments.unique_key(task.processor, tuple(args), kwargs, encoded)
    except (TypeError, ValueError, KeyError):  # not written by this library
        return None
    rows = fetch_all(connection, _DUPLICATE, (key, task.id))
    return rows[0][0] if rows else None
