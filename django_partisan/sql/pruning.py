"""Delete rows of tasks that ended long ago, walking along the primary key.

Finished rows have no index of their own, because every completion would have to write it. A batch reads a
bounded number of rows from where the last batch ended, and deletes those that are due. The row of ``Chore``
stores which manager prunes and how far the walk has come. Each batch locks that row, so two managers never
prune at the same time, and the next manager continues at the same place.

``last_at`` is the time of the last batch. ``cursor`` holds ``by`` (the manager that prunes now), ``next``
(the walk continues after this id), ``kept`` (how many rows this walk has read and left) and ``over``.
"""

import json
from typing import Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.retention import Rules
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.manager_rows import IS_ALIVE

CHORE: Final = "prune"
READ_ROWS: Final = 2000
"""How many rows one batch reads."""
LARGEST_ID: Final = 2**63 - 1
MAX_SHORTEST: Final = 1e10
"""Used instead of an infinite number of seconds, which an ``interval`` cannot have."""

# A row is checked when it is read, and again when it is locked, because it may have been requeued.
_ENDED_AT: Final = "finished_at"
# Version 1 wrote no ``finished_at``.
_UNKNOWN_END: Final = "CASE WHEN finished_at IS NULL THEN updated_at END"

_BATCH: Final = """
    batch AS MATERIALIZED (
        SELECT id, status, queue_name, processor_class, finished_at, {ended_at} AS ended_at,
               created_at BETWEEN now() - %(shortest)s * interval '1 second' AND now() + interval '1 day'
               AS is_young
          FROM django_partisan_task
         WHERE id > %(after)s AND id <= %(up_to)s {guard}
         ORDER BY id LIMIT %(read)s
    ), due AS MATERIALIZED (
        SELECT id, status, queue_name, finished_at FROM batch
         WHERE status IN ('finished', 'error')
           AND extract(epoch FROM now() - ended_at) >= coalesce(
                   %(rules)s::jsonb #>> ARRAY['processors', processor_class, status],
                   %(rules)s::jsonb #>> ARRAY['queues', queue_name, status],
                   %(rules)s::jsonb #>> ARRAY['others', status])::float8
           AND (%(queues)s::text[] IS NULL OR queue_name = ANY(%(queues)s::text[]))
           AND (%(queue)s::text IS NULL OR queue_name = %(queue)s::text)
           AND (%(processor)s::text IS NULL OR processor_class = %(processor)s::text)
         ORDER BY id LIMIT %(rows)s
    ), place AS MATERIALIZED (
        SELECT CASE WHEN number = %(rows)s THEN last ELSE (SELECT max(id) FROM batch) END AS last,
               CASE WHEN number = %(rows)s THEN false
                    ELSE (SELECT count(*) < %(read)s OR bool_and(is_young) FROM batch) END AS is_over
          FROM (SELECT count(*) AS number, max(id) AS last FROM due) AS found
    )
"""

_DELETE: Final = """
    locked AS MATERIALIZED (
        SELECT task.id FROM due JOIN django_partisan_task AS task ON task.id = due.id
         WHERE task.status = due.status AND task.finished_at IS NOT DISTINCT FROM due.finished_at
           FOR UPDATE OF task SKIP LOCKED
    ), deleted AS (
        DELETE FROM django_partisan_task AS task USING locked WHERE task.id = locked.id
        RETURNING task.queue_name, task.status
    ), numbers AS MATERIALIZED (
        SELECT queue_name, status, count(*) AS number FROM deleted GROUP BY queue_name, status
    ), kept AS MATERIALIZED (
        SELECT (SELECT count(*) FROM batch WHERE id <= place.last)
               - (SELECT coalesce(sum(number), 0) FROM numbers) AS number
          FROM place
    )
"""

_RESULT: Final = """
    SELECT (SELECT coalesce(jsonb_agg(jsonb_build_array(queue_name, status, number)), '[]')
              FROM {numbers} AS counted)::text,
           coalesce(place.last, %(after)s), place.is_over, {kept},
           extract(epoch FROM clock_timestamp() - statement_timestamp())::float8
      FROM place
"""
_COUNTED: Final = "(SELECT queue_name, status, count(*) AS number FROM due GROUP BY queue_name, status)"

# The batch of a manager, which is executed only while the manager has the chore.
_BATCH_OF_CHORE: Final = f"""
    WITH chore AS MATERIALIZED (
        SELECT name FROM django_partisan_chore
         WHERE name = '{CHORE}' AND cursor ->> 'by' = %(manager)s FOR UPDATE SKIP LOCKED
    ), {_BATCH.format(ended_at=_ENDED_AT, guard="AND EXISTS (SELECT FROM chore)")}, {_DELETE}, noted AS (
        UPDATE django_partisan_chore AS one
           SET last_at = clock_timestamp(),
               cursor = jsonb_build_object(
                   'v', 1, 'by', CASE WHEN NOT place.is_over THEN %(manager)s::text END,
                   'next', CASE WHEN NOT place.is_over THEN place.last END,
                   'kept', %(kept)s + kept.number, 'over', place.is_over)
          FROM chore, place, kept WHERE one.name = chore.name
    )
    {_RESULT.format(numbers="numbers", kept="(SELECT number FROM kept)")}
     WHERE EXISTS (SELECT FROM chore)
"""
_DELETE_RESULT: Final = f"{_DELETE} {_RESULT.format(numbers='numbers', kept='(SELECT number FROM kept)')}"
_COUNT_RESULT: Final = _RESULT.format(numbers=_COUNTED, kept="0")

_INSERT: Final = f"INSERT INTO django_partisan_chore (name) VALUES ('{CHORE}') ON CONFLICT DO NOTHING"

_TAKE: Final = f"""
    WITH chore AS MATERIALIZED (
        SELECT name, coalesce(cursor, '{{}}') AS cursor,
               CASE WHEN cursor ->> 'by' = %(manager)s THEN 0
                    WHEN EXISTS (SELECT FROM django_partisan_manager AS manager
                                  WHERE manager.id::text = cursor ->> 'by'
                                    AND {IS_ALIVE})
                    THEN extract(epoch FROM last_at - now()) + %(silent_seconds)s
                    WHEN (cursor ->> 'over')::boolean
                    THEN extract(epoch FROM last_at - now())
                         + greatest(%(interval)s, (cursor ->> 'kept')::float8 / %(kept_rate)s)
                    ELSE 0 END AS wait
          FROM django_partisan_chore WHERE name = '{CHORE}' FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE django_partisan_chore AS one
           SET last_at = now(),
               cursor = chore.cursor || jsonb_build_object('by', %(manager)s::text, 'over', false)
          FROM chore WHERE one.name = chore.name AND chore.wait <= 0
    )
    SELECT chore.wait::float8, (chore.cursor ->> 'by') IS NOT NULL,
           coalesce((chore.cursor ->> 'next')::bigint, 0),
           CASE WHEN chore.cursor ->> 'over' = 'true' THEN 0
                ELSE coalesce((chore.cursor ->> 'kept')::bigint, 0) END
      FROM chore
"""

_LIMIT_TRANSACTION: Final = """
    SELECT set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
           set_config('lock_timeout', '5s', true)
"""

_RELEASE: Final = f"""
    UPDATE django_partisan_chore SET cursor = cursor || jsonb_build_object('by', NULL)
     WHERE name = '{CHORE}' AND cursor ->> 'by' = %s
"""

_LAST: Final = f"""
    SELECT extract(epoch FROM now() - last_at)::float8, coalesce((cursor ->> 'kept')::float8, 0)
      FROM django_partisan_chore WHERE name = '{CHORE}' AND last_at IS NOT NULL
"""


# With outdated statistics, PostgreSQL considers the table small, and would read all of it for each batch.
_ALONG_THE_KEY: Final = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; "
BATCH_SECONDS_AT_MOST: Final = 1.0
"""How many seconds a batch of a manager may take; the manager's other chores wait for it."""
_LIMITS: Final = (
    f"SET LOCAL lock_timeout = 50; SET LOCAL statement_timeout = {1000 * BATCH_SECONDS_AT_MOST:.0f}; "
)


class Walk(NamedTuple):
    """The rules by which rows are due, and the limits of a batch, which reads ids in ``(after, up_to]``."""

    rules: Rules
    after: int = 0
    up_to: int = LARGEST_ID
    rows: int = READ_ROWS
    """The maximum number of rows to delete."""
    read: int = READ_ROWS
    queues: tuple[str, ...] | None = None
    """The queues whose rows may be due; ``None`` for all."""
    queue: str | None = None
    processor: str | None = None
    without_finished_at: bool = False
    """Whether only rows of version 1 are due, by ``updated_at``, instead of those with a ``finished_at``."""


class Batch(NamedTuple):
    """The result of a batch: numbers of rows by queue and status, and where the walk continues."""

    numbers: dict[tuple[str, str], int]
    last: int
    is_over: bool
    """Whether no row after ``last`` can be due, because it is too young."""
    kept: int
    """How many rows were read and left."""
    seconds: float


class ChoreState(NamedTuple):
    """Whether a manager may prune: it may if ``wait_seconds`` is 0 or less."""

    wait_seconds: float
    is_others: bool
    """Whether another manager prunes now."""
    after: int
    kept: int


def take(
    connection: BaseDatabaseWrapper, manager: UUID, interval: float, silent_seconds: float, kept_rate: float
) -> ChoreState | None:
    """Take the chore for a manager if a pass is due, or if the manager that prunes has died or is silent.

    A pass is due ``interval`` seconds after the last one, or later if the last one left many rows: after
    1/``kept_rate`` seconds for each of them. Return ``None`` if another manager locks the row.
    """
    parameters = {
        "manager": str(manager),
        "interval": interval,
        "silent_seconds": silent_seconds,
        "kept_rate": kept_rate,
    }
    rows = fetch_all(connection, _TAKE, parameters)
    if not rows:
        execute(connection, _INSERT)
        rows = fetch_all(connection, _TAKE, parameters)
    return next((ChoreState(*row) for row in rows), None)


def prune_as(
    connection: BaseDatabaseWrapper, manager: UUID, walk: Walk, kept: int, is_patient: bool = True
) -> Batch | None:
    """Delete a batch and record how far the walk has come; ``None`` if another manager has the chore.

    ``kept`` is how many rows the walk has left so far. Rows that others lock are skipped. Unless
    ``is_patient``, an error is raised if the table is locked for more than 50 ms, or if the batch takes
    longer than ``BATCH_SECONDS_AT_MOST``; then the connection must be in autocommit, because these limits
    hold until the transaction ends.
    """
    before = "" if is_patient else _ALONG_THE_KEY + _LIMITS
    parameters = {**_parameters(walk), "manager": str(manager), "kept": kept}
    return next(map(_batch, fetch_all(connection, before + _BATCH_OF_CHORE, parameters)), None)


def prune(connection: BaseDatabaseWrapper, walk: Walk) -> Batch:
    """Delete a batch, whichever manager has the chore."""
    return _walk(connection, walk, f"{{}}, {_DELETE_RESULT}")


def count(connection: BaseDatabaseWrapper, walk: Walk) -> Batch:
    """Count the rows that ``prune()`` would delete in a batch."""
    return _walk(connection, walk, f"{{}} {_COUNT_RESULT}")


def limit_transaction(connection: BaseDatabaseWrapper) -> None:
    """Make the statements of the current transaction use the primary key, and wait at most 5 s for locks."""
    execute(connection, _LIMIT_TRANSACTION)


def release(connection: BaseDatabaseWrapper, manager: UUID) -> None:
    """Let other managers continue the pass of a manager that stops."""
    execute(connection, _RELEASE, (str(manager),))


def last_batch(connection: BaseDatabaseWrapper) -> tuple[float, float] | None:
    """Return how many seconds ago the last batch was, and how many rows its walk left; ``None`` if never."""
    found = fetch_all(connection, _LAST)
    return (found[0][0], found[0][1]) if found else None


def largest_id(connection: BaseDatabaseWrapper) -> int:
    """Return the largest id of a task."""
    return int(fetch_all(connection, "SELECT coalesce(max(id), 0) FROM django_partisan_task")[0][0])


def _walk(connection: BaseDatabaseWrapper, walk: Walk, template: str) -> Batch:
    ended_at = _UNKNOWN_END if walk.without_finished_at else _ENDED_AT
    sql = "WITH " + template.format(_BATCH.format(ended_at=ended_at, guard=""))
    return _batch(fetch_all(connection, sql, _parameters(walk))[0])


def _parameters(walk: Walk) -> dict[str, object]:
    shortest = min(walk.rules.shortest, MAX_SHORTEST)
    if walk.without_finished_at:
        shortest = 0.0  # ``created_at`` of such rows may be anything
    return {
        **walk._asdict(),
        "rules": walk.rules.as_json(),
        "queues": None if walk.queues is None else list(walk.queues),
        "shortest": shortest,
    }


def _batch(row: tuple[object, ...]) -> Batch:
    found, last, is_over, kept, seconds = row
    numbers = {(queue, status): number for queue, status, number in json.loads(str(found))}
    return Batch(numbers, int(str(last)), bool(is_over), int(str(kept)), float(str(seconds)))
