"""Rows as the tests need them, and what has become of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection as of_the_test
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.models import Task
from django_partisan.sql.claiming import ID, TOKEN, TaskRow, claim
from django_partisan.sql.enqueueing import NewTask, insert_task


def insert(
    queue: str = "default",
    priority: int = 10,
    execute_after: datetime | None = None,
    unique_key: UUID | None = None,
    context: str | None = None,
    connection: BaseDatabaseWrapper = of_the_test,
) -> Task:
    """Put a task into the table as ``delay()`` does."""
    new = NewTask(queue, "Letter", priority, execute_after, '{"args":[],"kwargs":{}}', context, unique_key)
    return insert_task(connection, new)[0]


def claim_one(manager: UUID, queue: str = "default") -> TaskRow:
    """Claim the one task that is due."""
    [row] = claim(of_the_test, queue, manager, 2)
    return row


def pairs(rows: Sequence[TaskRow]) -> list[tuple[int, int]]:
    """Return id and claim token of each row."""
    return [(row[ID], row[TOKEN]) for row in rows]


def columns(task_id: int, *names: str) -> Any:
    """Return the columns of a row as they are now; of one name, its value."""
    values = Task.objects.values_list(*names).get(pk=task_id)
    return values[0] if len(names) == 1 else values


def statuses() -> dict[int, str]:
    """Return the status of every row by its id."""
    return dict(Task.objects.values_list("id", "status"))
