"""Which tasks a filter with an index reaches: of each queue, the first that the index has.

The list is in the order of ids. Left to itself, the planner may walk down the ids of a large table until it
has found a page of failed tasks, which takes long if all of them are old. An array is made first, whatever
the statistics say, and the rows are then fetched by primary key.
"""

from typing import Any, Final, NamedTuple

from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

from django_partisan.admin.paging import LISTED_MAX
from django_partisan.models import Task


class Index(NamedTuple):
    """A partial index of tasks: its condition, and its order within a queue."""

    condition: str
    order: str


HELD: Final = (Index("held IS NOT NULL", "held, processor_class, priority, id"),)
OF_STATUS: Final = {
    Task.STATUS_ERROR: (Index("status = 'error'", "finished_at DESC"),),
    Task.STATUS_IN_PROCESS: (Index("status = 'in_process'", "claimed_by"),),
    Task.STATUS_NEW: (
        Index("status = 'new' AND ready", "priority, id"),
        Index("status = 'new' AND NOT ready AND held IS NULL", "execute_after"),
        *HELD,
    ),
}

# Finds the queues one after the other, each with one descent into the index.
_REACHED: Final = """
    (WITH RECURSIVE queue AS (
        (SELECT queue_name AS name FROM django_partisan_task WHERE {condition} ORDER BY queue_name LIMIT 1)
         UNION ALL
        SELECT (SELECT queue_name FROM django_partisan_task
                 WHERE {condition} AND queue_name > queue.name ORDER BY queue_name LIMIT 1)
          FROM queue WHERE queue.name IS NOT NULL
    )
    SELECT reached.id FROM queue, LATERAL (
        SELECT id FROM django_partisan_task
         WHERE {condition} AND queue_name = queue.name ORDER BY {order} LIMIT {limit}) AS reached)
"""


def reached(tasks: QuerySet[Any], indexes: tuple[Index, ...]) -> QuerySet[Any]:
    """Select those that are among the first ``LISTED_MAX`` of each queue, by any of the indexes."""
    arms = (
        _REACHED.format(condition=index.condition, order=index.order, limit=LISTED_MAX) for index in indexes
    )
    found = f"django_partisan_task.id = ANY(ARRAY({' UNION ALL '.join(arms)}))"
    return tasks.filter(RawSQL(found, (), output_field=BooleanField()))
