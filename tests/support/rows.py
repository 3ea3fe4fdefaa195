"""Rows of tasks and managers in the tables, and claimed rows as a claim returns them."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

from django.db import connection as of_the_test
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F

from django_partisan.expiry import Expiry
from django_partisan.models import Task
from django_partisan.sql import claiming, leasing
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.enqueueing import NewTask, insert_task
from django_partisan.sql.rescuing import DeadManagers
from django_partisan.sql.row_changes import Kept, microseconds
from django_partisan.sql.settling import delete_completed, finish_completed
from django_partisan.sql.tokens import new_token

ARGUMENTS = '{"args":[],"kwargs":{}}'


def task_row(
    task_id: int,
    processor: str = "Letter",
    *,
    arguments: str = ARGUMENTS,
    priority: int = 10,
    attempts: int = 0,
    retries: int = 0,
    postpones: int = 0,
    crashes: int = 0,
    wait: float = 0.0,
    context: str | None = None,
    token: int = 1,
    takeovers: int = 0,
    expires: float | None = None,
) -> TaskRow:
    """Return a claimed row without using the database."""
    counts = (attempts, retries, postpones, crashes)
    return (task_id, processor, arguments, priority, *counts, wait, context, takeovers, expires, token)


def insert(
    queue: str = "default",
    priority: int = 10,
    execute_after: datetime | None = None,
    key: UUID | None = None,
    context: str | None = None,
    connection: BaseDatabaseWrapper = of_the_test,
    processor: str = "Letter",
    arguments: str = ARGUMENTS,
    expires_at: datetime | None = None,
) -> Task:
    """Insert a task as ``delay()`` does."""
    expiry = None if expires_at is None else Expiry(at=expires_at)
    new = NewTask(queue, processor, priority, execute_after, arguments, context, key, expiry)
    return insert_task(connection, new)[0]


def insert_many(number: int = 1, processor: str = "Letter", **task: Any) -> list[int]:
    """Insert tasks, with the arguments of ``insert``; return their ids."""
    return [insert(processor=processor, **task).pk for _ in range(number)]


def make_copies(task: Task, number: int) -> None:
    """Insert ``number`` more rows with the columns of a task, in one statement."""
    columns = ", ".join(str(field.column) for field in Task._meta.fields if not field.primary_key)
    table = f"(SELECT {columns} FROM django_partisan_task WHERE id = %s) AS task"
    with of_the_test.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO django_partisan_task ({columns}) "
            f"SELECT {columns} FROM {table}, generate_series(1, %s)",
            (task.pk, number),
        )


def register_manager(
    queue: str = "default",
    connection: BaseDatabaseWrapper = of_the_test,
    lease_seconds: float = 30,
    host: str = "elsewhere",
    lock_name: UUID | None = None,
) -> UUID:
    """Insert a manager's row; return the manager's id."""
    identity = uuid4()
    leasing.register(connection, identity, queue, host, 17, lock_name or uuid4(), lease_seconds)
    return identity


def claim(
    connection: BaseDatabaseWrapper,
    queue: str,
    manager: UUID,
    limit: int,
    behind: tuple[int, int] | None = None,
) -> list[TaskRow]:
    """Claim due tasks under a new token."""
    return claiming.claim(connection, queue, manager, new_token(), limit, behind)


def dead(**known: Any) -> DeadManagers:
    """Return what is known about dead managers; fields not given are empty."""
    return DeadManagers(**{"proven": [], "expired": [], "inspected": [], "begun": [], "running": [], **known})


def claimed(number: int = 1, manager: UUID | None = None, **task: Any) -> list[TaskRow]:
    """Insert tasks, with the arguments of ``insert``, and claim them."""
    insert_many(number, **task)
    return claim(of_the_test, task.get("queue", "default"), manager or register_manager(), number)


def claim_one(manager: UUID, queue: str = "default") -> TaskRow:
    """Claim the only task that is due."""
    [row] = claim(of_the_test, queue, manager, 2)
    return row


def forget(rows: Sequence[TaskRow]) -> None:
    """Restore rows to their state before the claim, as a crash of PostgreSQL may do."""
    Task.objects.filter(pk__in=[row[ID] for row in rows]).update(
        status="new", ready=True, claim_token=None, claimed_by=None, updated_at=F("created_at")
    )


def lock_of(*ids: int) -> str:
    """Return the statement that locks rows, for another transaction."""
    return f"SELECT FROM django_partisan_task WHERE id IN ({', '.join(map(str, ids))}) FOR UPDATE"


def duplicate_of(key: UUID) -> str:
    """Return the statement that enqueues a task with a unique key, for another transaction."""
    return (
        "INSERT INTO django_partisan_task (status, queue_name, created_at, updated_at, processor_class,"
        " priority, execute_after, ready, arguments, extra, unique_key) SELECT 'new', 'default', now(),"
        f" now(), 'Letter', 10, now(), true, '{{}}', '{{}}', '{key}'"
    )


def pairs(rows: Sequence[TaskRow]) -> list[tuple[int, int]]:
    """Return the id and claim token of each row."""
    return [(row[ID], row[TOKEN]) for row in rows]


def kept(rows: Sequence[TaskRow], seconds: float = 0.5) -> list[Kept]:
    """Return the values that settle completed runs, started ``seconds`` ago, whose rows are kept."""
    started = microseconds(monotonic() - seconds)
    return [(*pair, started, "elsewhere:17", None) for pair in pairs(rows)]


def settle_completed(
    session: BaseDatabaseWrapper, runs: Sequence[Kept], delete: bool, **more: Any
) -> list[int]:
    """Delete or finish the rows of completed runs; return the ids of tasks whose claim was lost."""
    return (
        delete_completed(session, [run[:2] for run in runs], **more)
        if delete
        else finish_completed(session, runs, **more)
    )


def columns(task_id: int, *names: str) -> Any:
    """Return the current values of a row's columns; a single name returns its value."""
    values = Task.objects.values_list(*names).get(pk=task_id)
    return values[0] if len(names) == 1 else values


def statuses() -> dict[int, str]:
    """Return the status of every row by its id."""
    return dict(Task.objects.values_list("id", "status"))


def number_of(status: str, **where: Any) -> int:
    """Return the number of tasks with a status that match the conditions."""
    return Task.objects.filter(status=status, **where).count()


def count_by_status() -> dict[str, int]:
    """Return the number of tasks with each status."""
    return dict(Counter(statuses().values()))


def statuses_of(*ids: int) -> list[str | None]:
    """Return the status of each task, or ``None`` for a task that no longer exists."""
    found = statuses()
    return [found.get(task_id) for task_id in ids]
