"""Put tasks into the table, and wake a manager that sleeps."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.models import Task
from django_partisan.sql.connection import execute, fetch_all

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
_NOW = "statement_timestamp()"

_INSERT = """
    INSERT INTO django_partisan_task (status, extra, created_at, updated_at, queue_name, processor_class,
                                      priority, execute_after, ready, arguments, context, unique_key)
"""

# DO UPDATE locks the duplicate, so no claim takes it before the data that it should see is committed.
_OR_LOCK_DUPLICATE = """
    ON CONFLICT (unique_key) WHERE status = 'new' AND unique_key IS NOT NULL
    DO UPDATE SET unique_key = EXCLUDED.unique_key
"""

# A NOTIFY on every insert would make commits wait for each other; a manager says when it needs one.
_SLEEPING = "SELECT FROM django_partisan_manager WHERE queue_name = %s AND sleeping"
_WAKE = f"SELECT pg_notify('{CHANNEL}', %s) WHERE EXISTS ({_SLEEPING})"

_INSERT_ONE = f"""
    WITH enqueued AS (
        {_INSERT}
        VALUES ('new', '{{}}', {_NOW}, {_NOW}, %s, %s, %s,
                coalesce(%s::timestamptz, {_NOW}), coalesce(%s::timestamptz <= {_NOW}, true),
                %s::jsonb, %s::jsonb, %s::uuid)
        {_OR_LOCK_DUPLICATE}
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
    return Task.from_db(connection.alias, _FETCHED, values), inserted


def insert_tasks(connection: BaseDatabaseWrapper, tasks: Sequence[NewTask]) -> list[tuple[int, bool]]:
    """Insert many tasks in one statement; return id and whether it is new for each, in their order.

    No two of them may share a unique key. Wakes no manager: see ``wake()``.
    """
    columns = [
        _Column("queue", "text", [task.queue for task in tasks]),
        _Column("processor", "text", [task.processor for task in tasks]),
        _Column("priority", "int", [task.priority for task in tasks]),
        _Column("after", "timestamptz", [task.execute_after for task in tasks]),
        _Column("context", "jsonb", [task.context for task in tasks]),
        _Column("key", "uuid", [task.unique_key for task in tasks]),
    ]
    varying = [column for column in columns if not column.is_constant]
    constant = [column for column in columns if column.is_constant]
    any_key = any(task.unique_key is not None for task in tasks)
    statement = f"""
        {_INSERT}
        SELECT 'new', '{{}}', {_NOW}, {_NOW}, queue, processor, priority,
               coalesce(after, {_NOW}), coalesce(after <= {_NOW}, true), arguments, context, key
          FROM (SELECT v.*{"".join(f", %s::{column.type} AS {column.name}" for column in constant)}
                  FROM ROWS FROM (jsonb_array_elements(%s::jsonb)
                                  {"".join(f", unnest(%s::{column.type}[])" for column in varying)})
                    AS v (arguments{"".join(f", {column.name}" for column in varying)})) AS tasks
        {_OR_LOCK_DUPLICATE if any_key else ""}
        RETURNING id, xmax = 0
    """
    arguments = "[" + ",".join(task.arguments for task in tasks) + "]"
    parameters = (
        [column.values[0] for column in constant]
        + [arguments]
        + [_array(column.values) for column in varying]
    )
    return fetch_all(connection, statement, parameters)


def wake(connection: BaseDatabaseWrapper, queues: Iterable[str]) -> None:
    """Notify the managers of ``queues`` that sleep; costs a query for each queue."""
    for queue in queues:
        execute(connection, _WAKE, (queue, queue))


class _Column:
    """The values of one column; where all are equal, one is sent for all rows, which halves the cost."""

    def __init__(self, name: str, type_: str, values: list[Any]) -> None:
        self.name = name
        self.type = type_
        self.values = values
        self.is_constant = values.count(values[0]) == len(values)


def _array(values: Iterable[Any]) -> str:
    """Return an array as one literal, which PostgreSQL parses faster than a list of constants."""
    return "{" + ",".join("NULL" if value is None else _quoted(str(value)) for value in values) + "}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
