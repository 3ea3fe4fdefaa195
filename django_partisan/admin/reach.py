"""Which tasks a filter with an index reaches: of each queue, the first that the index has.

The list is in the order of ids. Left to itself, the planner may walk down the ids of a large table until it
has found a page of failed tasks, which takes long if all of them are old. An array is made first, whatever
the statistics say, and the rows are then fetched by primary key.
"""

from typing import Any, Final, NamedTuple

from django.db import connections
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL

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
         WHERE {condition} AND queue_name = queue.name ORDER BY {order} {part}) AS reached {queues})
"""


def reached(tasks: QuerySet[Any], indexes: tuple[Index, ...], limit: int) -> QuerySet[Any]:
    """Select those that are among the first ``limit`` of each queue, by any of the indexes."""
    arms = (_REACHED.format(**index._asdict(), part=f"LIMIT {limit}", queues="") for index in indexes)
    found = f"django_partisan_task.id = ANY(ARRAY({' UNION ALL '.join(arms)}))"
    return tasks.filter(RawSQL(found, (), output_field=BooleanField()))


def has_more(database: str, indexes: tuple[Index, ...], limit: int, queue: str | None) -> bool:
    """Return whether an index has more than ``limit`` tasks of the queue, or of any."""
    part = f"OFFSET {limit} LIMIT 1"
    queues, names = ("", ()) if queue is None else ("WHERE queue.name = %s", (queue,))
    with connections[database].cursor() as cursor:
        for index in indexes:
            arm = _REACHED.format(**index._asdict(), part=part, queues=queues)
            cursor.execute(f"SELECT EXISTS {arm}", names)
            if cursor.fetchone()[0]:
                return True
    return False
