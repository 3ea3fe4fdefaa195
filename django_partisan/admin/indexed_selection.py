"""Select tasks for a filter by its index: of each queue, the first tasks in the index.

The list is ordered by id. The planner might read a large table from the highest id down until it has found a
page of failed tasks, which takes long if all of them are old. So the ids are collected in an array first,
whatever the statistics say. The index of failed tasks has every column that lists of them are filtered by, so
filtering does not read their rows.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from django.db import connections
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

from django_partisan.admin.paging import LISTED_MAX
from django_partisan.models import Task

_ENOUGH: Final = LISTED_MAX + 1
"""One more than are listed, so that an action on all of them can report that there are more."""


class Index(NamedTuple):
    """A partial index of tasks: its condition, and its order within a queue."""

    condition: str
    order: str


class Condition(NamedTuple):
    """A condition on the tasks that are read from an index: a comparison of a column with a value."""

    column: str
    comparison: str
    value: str


FAILED: Final = (Index("status = 'error'", "finished_at DESC, id DESC"),)
HELD: Final = (Index("held IS NOT NULL", "held, processor_class, priority, id"),)
OF_STATUS: Final = {
    Task.STATUS_ERROR: FAILED,
    Task.STATUS_IN_PROCESS: (Index("status = 'in_process'", "claimed_by"),),
    Task.STATUS_NEW: (
        Index("status = 'new' AND ready", "priority, id"),
        Index("status = 'new' AND NOT ready AND held IS NULL", "execute_after"),
        *HELD,
    ),
}

# Finds the queues one after the other, each with one descent into the index. Reads each queue until enough
# tasks are found; the latest of them are listed.
_REACHED: Final = """
    (WITH RECURSIVE queue AS (
        (SELECT queue_name AS name FROM django_partisan_task WHERE {condition} ORDER BY queue_name LIMIT 1)
         UNION ALL
        SELECT (SELECT queue_name FROM django_partisan_task
                 WHERE {condition} AND queue_name > queue.name ORDER BY queue_name LIMIT 1)
          FROM queue WHERE queue.name IS NOT NULL
    )
    SELECT found.id FROM queue, LATERAL (
        SELECT id FROM (SELECT {columns} FROM django_partisan_task
                         WHERE {condition} AND queue_name = queue.name ORDER BY {order} {part}) AS reached
         WHERE {terms} LIMIT {enough}) AS found
     WHERE {queues})
"""


def first_by_index(
    tasks: QuerySet[Any],
    indexes: tuple[Index, ...],
    limit: int,
    queue: str | None,
    conditions: Sequence[Condition] = (),
) -> QuerySet[Any]:
    """Select the tasks that are among the first ``limit`` of one queue, or of each, in any of the indexes.

    Only the latest tasks that meet the conditions are selected, one more than are listed.
    """
    arms = " UNION ALL ".join(_union_part(index, f"LIMIT {limit}", queue, conditions) for index in indexes)
    latest = f"SELECT id FROM ({arms}) AS found ORDER BY id DESC LIMIT {_ENOUGH}"
    values = _values(queue, conditions) * len(indexes)
    found = f"django_partisan_task.id = ANY(ARRAY({latest}))"
    return tasks.filter(RawSQL(found, values, output_field=BooleanField()))


def has_more(database: str, indexes: tuple[Index, ...], limit: int, queue: str | None) -> bool:
    """Return whether an index has more than ``limit`` tasks of the queue, or of any queue."""
    with connections[database].cursor() as cursor:
        for index in indexes:
            cursor.execute(
                f"SELECT EXISTS {_union_part(index, f'OFFSET {limit} LIMIT 1', queue)}", _values(queue)
            )
            if cursor.fetchone()[0]:
                return True
    return False


def _union_part(index: Index, part: str, queue: str | None, conditions: Sequence[Condition] = ()) -> str:
    columns = dict.fromkeys(["id", *(condition.column for condition in conditions)])
    terms = [f"reached.{condition.column} {condition.comparison}" for condition in conditions]
    return _REACHED.format(
        **index._asdict(),
        part=part,
        columns=", ".join(columns),
        terms=" AND ".join(terms) or "true",
        enough=_ENOUGH,
        queues="true" if queue is None else "queue.name = %s",
    )


def _values(queue: str | None, conditions: Sequence[Condition] = ()) -> list[str]:
    """Return the parameters of an arm of the query."""
    return [*(condition.value for condition in conditions), *([] if queue is None else [queue])]
