"""Insert a task, and wake a manager that sleeps; ``bulk_enqueueing`` inserts many tasks."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.models import Task
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.tokens import NO_CLAIM

# The channel of NOTIFY; the payload is the queue's name.
CHANNEL: Final = "django_partisan"

# The columns from ``history`` on are empty in a new row: they are not fetched, which every call would pay.
_FIELDS: Final = [field.attname for field in Task._meta.concrete_fields]
_FETCHED: Final = _FIELDS[: _FIELDS.index("history")]
_EMPTY: Final = [0 if name == "takeovers" else None for name in _FIELDS[len(_FETCHED) :]]
_JSON: Final = [_FETCHED.index(name) for name in ("arguments", "extra", "context")]


class NewTask(NamedTuple):
    """What a caller decides about a task; the rest is the database's."""

    queue: str
    processor: str
    priority: int
    execute_after: datetime | None
    arguments: str
    context: str | None
    unique_key: UUID | None


# The statement's own time, not the transaction's: a task waits from when it was asked for.
NOW = "statement_timestamp()"

INSERT = """
    INSERT INTO django_partisan_task (status, extra, created_at, updated_at, queue_name, processor_class,
                                      priority, execute_after, ready, arguments, context, unique_key{more})
"""

# DO UPDATE locks the duplicate, so no claim takes it before the data that it should see is committed. The
# token is that of no claim. Until the next claim it shows that a run which began before is not the one that
# the caller relies on, should PostgreSQL have forgotten the claim of that run (see ``forgotten``).
OR_LOCK_DUPLICATE = f"""
    ON CONFLICT (unique_key) WHERE status = 'new' AND unique_key IS NOT NULL
    DO UPDATE SET unique_key = EXCLUDED.unique_key, claim_token = {NO_CLAIM}
"""

# A NOTIFY on every insert would make commits wait for each other; a manager says when it needs one.
_SLEEPING = "SELECT FROM django_partisan_manager WHERE queue_name = %s AND sleeping"
_WAKE = f"SELECT pg_notify('{CHANNEL}', %s) WHERE EXISTS ({_SLEEPING})"

_INSERT_ONE = f"""
    WITH enqueued AS (
        {INSERT.format(more="")}
        VALUES ('new', '{{}}', {NOW}, {NOW}, %s, %s, %s,
                coalesce(%s::timestamptz, {NOW}), coalesce(%s::timestamptz <= {NOW}, true),
                %s::jsonb, %s::jsonb, %s::uuid)
        {OR_LOCK_DUPLICATE}
        RETURNING xmax = 0, {", ".join(_FETCHED)}
    )
    SELECT *, CASE WHEN EXISTS ({_SLEEPING}) THEN pg_notify('{CHANNEL}', %s) END FROM enqueued
"""


def insert_task(connection: BaseDatabaseWrapper, new: NewTask) -> tuple[Task, bool]:
    """Insert one task, or lock its waiting duplicate; return the row and whether it is new."""
    queue, processor, priority, after, arguments, context, key = new
    parameters = (queue, processor, priority, after, after, arguments, context, key, queue, queue)
    inserted, *values, _notified = fetch_all(connection, _INSERT_ONE, parameters)[0]
    for place in _JSON:
        if values[place] is not None:
            values[place] = json.loads(values[place])
    if inserted:
        values += _EMPTY  # those of a duplicate Django loads when they are read
    task = Task.from_db(connection.alias, _FETCHED, values)
    task.is_duplicate = not inserted
    return task, inserted


def wake(connection: BaseDatabaseWrapper, queues: Iterable[str]) -> None:
    """Notify the managers of ``queues`` that sleep; costs a query for each queue."""
    for queue in queues:
        execute(connection, _WAKE, (queue, queue))
