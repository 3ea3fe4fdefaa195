"""Insert many tasks, in an order that cannot deadlock and in parts that PostgreSQL accepts.

Calls that insert the same unique keys wait for each other. All calls insert in the order of the keys, so
they cannot deadlock. The ids still follow the order of the call, because tasks of equal priority run in the
order of their ids.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any, Final

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.expiry import Expiry
from django_partisan.sql.array_literals import array_of, element
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.enqueueing import EXPIRES_AT, INSERT, NOW, OR_LOCK_DUPLICATE, NewTask

PART_BYTES: Final = 2**24
"""The maximum number of bytes of text in one statement. A ``jsonb`` may be six times as long as its text, and
PostgreSQL does not accept an array of 256 MiB."""
_ROW_BYTES: Final = 100  # an estimate for the columns beside arguments and context
_NEVER: Final = Expiry()
_DRAW_IDS: Final = """
    SELECT nextval(pg_get_serial_sequence('django_partisan_task', 'id')) FROM generate_series(1, %s)
"""


def insert_tasks(
    connection: BaseDatabaseWrapper, tasks: Sequence[NewTask], part_bytes: int = PART_BYTES
) -> list[tuple[int, bool]]:
    """Insert many tasks; return the id of each and whether it is new, in order.

    Executes one statement for each part of ``part_bytes``, and one that draws the ids if there are several
    unique keys. Several parts are inserted in one transaction. Two tasks must not share a unique key.
    Managers are not notified: see ``wake()``.
    """
    parts, ids = _planned(connection, tasks, part_bytes)
    with nullcontext() if len(parts) == 1 else transaction.atomic(using=connection.alias):
        return _insert_parts(connection, tasks, parts, ids)


def insert_scheduled(
    connection: BaseDatabaseWrapper,
    tasks: Sequence[NewTask],
    scheduled_for: Sequence[datetime],
    part_bytes: int = PART_BYTES,
) -> list[tuple[int, bool]]:
    """Insert the tasks of ticks at the times ``scheduled_for``, in the caller's transaction.

    Otherwise, it does the same as ``insert_tasks()``.
    """
    parts, ids = _planned(connection, tasks, part_bytes)
    return _insert_parts(connection, tasks, parts, ids, scheduled_for)


def _planned(
    connection: BaseDatabaseWrapper, tasks: Sequence[NewTask], part_bytes: int
) -> tuple[list[list[int]], list[int] | None]:
    """Return the positions of the tasks by part, and their ids if they are inserted in another order."""
    if sum(task.unique_key is not None for task in tasks) <= 1:
        return list(_parts(tasks, range(len(tasks)), part_bytes)), None
    ids = [task_id for (task_id,) in fetch_all(connection, _DRAW_IDS, (len(tasks),))]
    return list(_parts(tasks, _in_order_of_keys(tasks), part_bytes)), ids


def _insert_parts(
    connection: BaseDatabaseWrapper,
    tasks: Sequence[NewTask],
    parts: Sequence[list[int]],
    ids: Sequence[int] | None,
    scheduled_for: Sequence[datetime] | None = None,
) -> list[tuple[int, bool]]:
    rows: list[Any] = [None] * len(tasks)
    for part in parts:
        drawn = None if ids is None else [ids[place] for place in part]
        moments = None if scheduled_for is None else [scheduled_for[place] for place in part]
        inserted = _insert(connection, [tasks[place] for place in part], drawn, moments)
        if len(inserted) != len(part):
            raise ValueError("A trigger on django_partisan_task has dropped a task: it returned NULL.")
        for place, row in zip(part, inserted, strict=True):
            rows[place] = row
    return rows


def _in_order_of_keys(tasks: Sequence[NewTask]) -> list[int]:
    """Return the positions of the tasks: those without a key, then the others in PostgreSQL's key order."""
    keys = [-1 if task.unique_key is None else task.unique_key.int for task in tasks]
    return sorted(range(len(tasks)), key=keys.__getitem__)


def _parts(tasks: Sequence[NewTask], order: Iterable[int], part_bytes: int) -> Iterator[list[int]]:
    part: list[int] = []
    size = 0
    for place in order:
        task = tasks[place]
        length = len(task.arguments) + len(task.context or "") + _ROW_BYTES
        if part and size + length > part_bytes:
            yield part
            part, size = [], 0
        part.append(place)
        size += length
    yield part


def _insert(
    connection: BaseDatabaseWrapper,
    tasks: Sequence[NewTask],
    ids: Sequence[int] | None,
    scheduled_for: Sequence[datetime] | None,
) -> list[tuple[int, bool]]:
    queues, processors, priorities, moments, arguments, contexts, keys, expiries = zip(*tasks, strict=True)
    columns = [
        _Column("queue", "text", queues),
        _Column("processor", "text", processors),
        _Column("priority", "int", priorities),
        _Column("after", "timestamptz", moments),
        _Column("context", "jsonb", contexts),
        _Column("key", "uuid", keys),
    ]
    more = ""  # columns that only some calls need, and their values
    value = ""
    if ids is not None:
        columns.append(_Column("id", "bigint", ids))
        more, value = ", id", ", id"
    if any(expiries):
        given = [expiry or _NEVER for expiry in expiries]
        columns.append(_Column("expires_seconds", "float8", [one.seconds for one in given]))
        columns.append(_Column("expires_moment", "timestamptz", [one.at for one in given]))
        more += ", expires_at"
        value += ", " + EXPIRES_AT.format(at="expires_moment", seconds="expires_seconds", after="after")
    if scheduled_for is not None:
        columns.append(_Column("scheduled_for", "timestamptz", scheduled_for))
        more, value = f"{more}, scheduled_for", f"{value}, scheduled_for"
    varying = [column for column in columns if not column.is_constant]
    constant = [column for column in columns if column.is_constant]
    any_key = any(keys)
    statement = f"""
        {INSERT.format(more=more)}
        SELECT 'new', '{{}}', {NOW}, {NOW}, queue, processor, priority,
               coalesce(after, {NOW}), coalesce(after <= {NOW}, true), arguments, context, key
               {value}
          FROM (SELECT v.*{"".join(f", %s::{column.type} AS {column.name}" for column in constant)}
                  FROM ROWS FROM (jsonb_array_elements(%s::jsonb)
                                  {"".join(f", unnest(%s::{column.type}[])" for column in varying)})
                    AS v (arguments{"".join(f", {column.name}" for column in varying)})) AS tasks
        {OR_LOCK_DUPLICATE if any_key else ""}
        RETURNING id, xmax = 0
    """
    parameters = (
        [column.values[0] for column in constant]
        + ["[" + ",".join(arguments) + "]"]
        + [array_of(map(element, column.values)) for column in varying]
    )
    return fetch_all(connection, statement, parameters)


class _Column:
    """The values of one column; if all are equal, the value is sent once, which halves the cost."""

    def __init__(self, name: str, type_: str, values: Sequence[Any]) -> None:
        self.name = name
        self.type = type_
        self.values = values
        self.is_constant = values.count(values[0]) == len(values)
