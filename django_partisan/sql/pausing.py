"""Pause and resume queues, with rows in the table of pauses that every manager of the queue follows.

A pause whose ``until`` has passed has no effect; its row stays until the queue is paused or resumed again.
All moments are by the database's clock.
"""

from datetime import datetime
from typing import Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import fetch_all

IS_ON: Final = "processor_class = '' AND (until IS NULL OR until > statement_timestamp())"
"""Whether a row pauses its queue; a row that names a processor does not."""

# A queue that is already paused stays paused, with the new end and comment.
_PAUSE = """
    INSERT INTO django_partisan_pause AS pause (queue_name, processor_class, until, comment, by, paused_at)
    VALUES (%s, '', coalesce(%s::timestamptz, statement_timestamp() + %s * interval '1 second'), %s, %s,
            statement_timestamp())
    ON CONFLICT (queue_name, processor_class) DO UPDATE
       SET until = EXCLUDED.until, comment = EXCLUDED.comment, by = EXCLUDED.by,
           paused_at = CASE WHEN pause.until <= statement_timestamp() THEN EXCLUDED.paused_at
                            ELSE pause.paused_at END
    RETURNING queue_name, paused_at, until, comment, by
"""
_RESUME = """
    DELETE FROM django_partisan_pause WHERE queue_name = %s AND processor_class = ''
    RETURNING until IS NULL OR until > statement_timestamp()
"""
_PAUSED = f"""
    SELECT queue_name, paused_at, until, comment, by FROM django_partisan_pause WHERE {IS_ON}
     ORDER BY queue_name
"""
_READ_PAUSE = f"""
    SELECT coalesce(extract(epoch FROM statement_timestamp() - paused_at), 0)::float8,
           extract(epoch FROM until - statement_timestamp())::float8,
           to_char(until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), comment, by
      FROM django_partisan_pause WHERE queue_name = %s AND {IS_ON}
"""


class PausedQueue(NamedTuple):
    """A queue that is paused."""

    queue_name: str
    paused_at: datetime | None
    """``None`` if the pause was written by a version that did not store it."""
    until: datetime | None
    """When the pause ends automatically; ``None`` if somebody must resume the queue."""
    comment: str
    by: str
    """Who paused it."""


class StoredPause(NamedTuple):
    """The pause of a queue, as its managers read it."""

    seconds: float
    """Seconds since it began."""
    seconds_left: float | None
    """Seconds until it ends automatically; ``None`` if somebody must resume the queue."""
    until: str | None
    """When it ends automatically, as ISO 8601 text in UTC."""
    comment: str
    by: str


def pause(
    connection: BaseDatabaseWrapper,
    queue: str,
    until: datetime | None = None,
    seconds: float | None = None,
    comment: str = "",
    by: str = "",
) -> PausedQueue:
    """Pause a queue ``until`` a moment, for ``seconds`` from now or, without either, until it is resumed."""
    [row] = fetch_all(connection, _PAUSE, (queue, until, seconds, comment, by))
    return PausedQueue(*row)


def resume(connection: BaseDatabaseWrapper, queue: str) -> bool | None:
    """End the pause of a queue; return whether it was paused, or ``None`` if there was no row for it."""
    rows = fetch_all(connection, _RESUME, (queue,))
    return bool(rows[0][0]) if rows else None


def paused(connection: BaseDatabaseWrapper) -> list[PausedQueue]:
    """Return the queues that are paused, by name."""
    return [PausedQueue(*row) for row in fetch_all(connection, _PAUSED)]


def read_pause(connection: BaseDatabaseWrapper, queue: str) -> StoredPause | None:
    """Return the pause of a queue; ``None`` if it is not paused."""
    rows = fetch_all(connection, _READ_PAUSE, (queue,))
    return StoredPause(*rows[0]) if rows else None
