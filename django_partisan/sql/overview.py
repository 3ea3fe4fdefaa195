"""Read an overview of all queues for operators: their names, their pauses, and recent failures.

Every statement is bounded: it reads the first entries of an index, or jumps from one queue to the next.
Execute them between ``begin_reading()`` and ``end_reading()``.
"""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.outcomes import REASONS_TO_NAME
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.statistics_statement import LIMITS, PREPARE

QUEUES_AT_MOST: Final = 200
FAILURES_AT_MOST: Final = 1000
"""How many of the latest failed tasks of a queue are searched for kinds and errors."""
READ_AT_MOST: Final = LIMITS.counted
"""How many rows are read to find them, because cancelled and expired tasks are among the rows."""
KINDS_AT_MOST: Final = 10
ERRORS_AT_MOST: Final = 5
MESSAGE_CHARACTERS: Final = 200

_CONDITIONS: Final = (
    "status = 'new' AND ready",
    "status = 'new' AND NOT ready AND held IS NULL",
    "status = 'in_process'",
    "status = 'error'",
    "held IS NOT NULL",
)
"""The conditions of the partial indexes that begin with the queue: together, all tasks not finished."""

_JUMP: Final = """
    queue_{number} AS (
        (SELECT queue_name FROM django_partisan_task WHERE {condition} ORDER BY queue_name LIMIT 1)
         UNION ALL
        SELECT following.queue_name
          FROM queue_{number}, LATERAL (
            SELECT queue_name FROM django_partisan_task
             WHERE {condition} AND queue_name > queue_{number}.queue_name
             ORDER BY queue_name LIMIT 1) AS following
    )"""
_QUEUES: Final = (
    "WITH RECURSIVE"
    + ",".join(
        _JUMP.format(number=number, condition=condition) for number, condition in enumerate(_CONDITIONS)
    )
    + " UNION ".join(
        f"(SELECT queue_name FROM queue_{number} LIMIT {QUEUES_AT_MOST})"
        for number in range(len(_CONDITIONS))
    )
    + f"""
     UNION (SELECT DISTINCT queue_name FROM django_partisan_manager LIMIT {QUEUES_AT_MOST})
     UNION (SELECT queue_name FROM django_partisan_pause WHERE {{is_paused}} LIMIT {QUEUES_AT_MOST})
"""
)

_IS_PAUSED: Final = "processor_class = '' AND (until IS NULL OR until > now())"
_PAUSES: Final = f"""
    SELECT queue_name, until, comment, by FROM django_partisan_pause WHERE {_IS_PAUSED}
     ORDER BY queue_name LIMIT {QUEUES_AT_MOST}
"""

_RECENT: Final = f"""
    WITH failed AS MATERIALIZED (
        SELECT * FROM (
            SELECT id, processor_class, error_reason, error_type, finished_at FROM django_partisan_task
             WHERE queue_name = %(queue)s AND status = 'error' AND finished_at > now() - interval '1 day'
             ORDER BY finished_at DESC LIMIT {READ_AT_MOST}) AS recent
         WHERE NOT coalesce(error_reason, '') = ANY(%(left_out)s::text[])
         LIMIT {FAILURES_AT_MOST}
    )
"""
_KINDS: Final = f"""{_RECENT}
    SELECT processor_class, coalesce(error_reason, ''), coalesce(error_type, ''), count(*),
           extract(epoch FROM now() - max(finished_at))::float8
      FROM failed GROUP BY 1, 2, 3 ORDER BY 4 DESC, 5 LIMIT {KINDS_AT_MOST}
"""
_ERRORS: Final = f"""{_RECENT}, latest AS (
        SELECT id FROM failed ORDER BY finished_at DESC, id DESC LIMIT {ERRORS_AT_MOST}
    )
    SELECT id, processor_class, coalesce(error_reason, ''), coalesce(error_type, ''),
           left(coalesce(error_message, ''), {MESSAGE_CHARACTERS}), finished_at,
           extract(epoch FROM now() - finished_at)::float8
      FROM django_partisan_task WHERE id = ANY (ARRAY (SELECT id FROM latest)) AND finished_at IS NOT NULL
     ORDER BY finished_at DESC, id DESC
"""


class QueuePause(NamedTuple):
    """The pause of a queue."""

    queue: str
    until: datetime | None
    """When it ends automatically; ``None`` if somebody must resume the queue."""
    comment: str
    by: str


class FailingKind(NamedTuple):
    """Tasks that failed in the same way within a day, among the latest failed tasks of their queue."""

    processor: str
    reason: str
    error_type: str
    number: int
    last_seconds: float
    """Seconds since the last of them failed."""


class LastError(NamedTuple):
    """A task that failed within a day."""

    task: int
    processor: str
    reason: str
    error_type: str
    message: str
    failed_at: datetime
    seconds: float
    """Seconds since it failed."""


def begin_reading(connection: BaseDatabaseWrapper, timeout: float) -> None:
    """Begin a read-only transaction whose statements are cancelled after ``timeout`` seconds."""
    execute(connection, "BEGIN READ ONLY")
    fetch_all(connection, PREPARE, (str(math.ceil(timeout * 1000)),))


def end_reading(connection: BaseDatabaseWrapper) -> None:
    """End the transaction of ``begin_reading()``."""
    execute(connection, "COMMIT")


def queues_in_use(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the names of the queues that have tasks not yet finished, have managers, or are paused."""
    return sorted(name for (name,) in fetch_all(connection, _QUEUES.format(is_paused=_IS_PAUSED)))


def pauses(connection: BaseDatabaseWrapper) -> list[QueuePause]:
    """Return the pauses of queues that are in force."""
    return [QueuePause(*row) for row in fetch_all(connection, _PAUSES)]


def failing_kinds(connection: BaseDatabaseWrapper, queue: str) -> list[FailingKind]:
    """Return the kinds of failures in a queue within a day, most frequent first.

    Cancelled and expired tasks are left out.
    """
    return [FailingKind(*row) for row in fetch_all(connection, _KINDS, _of(queue))]


def last_errors(connection: BaseDatabaseWrapper, queue: str) -> list[LastError]:
    """Return the tasks of a queue that failed last, within a day; cancelled and expired ones are left out."""
    return [LastError(*row) for row in fetch_all(connection, _ERRORS, _of(queue))]


def _of(queue: str) -> dict[str, str | Sequence[str]]:
    return {"queue": queue, "left_out": list(REASONS_TO_NAME)}
