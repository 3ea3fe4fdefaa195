"""Rows that a manager of the test holds, and what has become of them."""

from typing import Any
from uuid import UUID, uuid4

from django.db import connection

from django_partisan.models import Task
from django_partisan.sql import leasing
from django_partisan.sql.claiming import TaskRow, claim
from django_partisan.sql.enqueueing import NewTask, insert_task
from tests.unit.engine.stand_ins import ARGUMENTS


def enqueue(
    number: int = 1, processor: str = "Letter", arguments: str = ARGUMENTS, key: UUID | None = None
) -> list[int]:
    """Put tasks into the table; return their ids."""
    new = NewTask("default", processor, 10, None, arguments, None, key)
    return [insert_task(connection, new)[0].pk for _ in range(number)]


def manager_row(lock_name: UUID | None = None, host: str = "elsewhere", lease_seconds: float = 30) -> UUID:
    """Register a manager of the default queue."""
    identity = uuid4()
    leasing.register(connection, identity, "default", host, 17, lock_name or uuid4(), lease_seconds)
    return identity


def claimed(number: int = 1, manager: UUID | None = None, **task: Any) -> list[TaskRow]:
    """Put tasks into the table and claim them."""
    enqueue(number, **task)
    return claim(connection, "default", manager or manager_row(), number)


def statuses(*ids: int) -> list[str | None]:
    """Return the status of each task, ``None`` for one that is gone."""
    found = dict(Task.objects.values_list("id", "status"))
    return [found.get(task_id) for task_id in ids]
