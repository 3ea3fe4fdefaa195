"""How tasks are cancelled: in which batches, who is notified, and what is emitted.

``Task.cancel()``, ``TaskQuerySet.cancel()`` and ``partisan_cancel`` call this module.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from django.db import DatabaseError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.enqueueing import after_commit
from django_partisan.exceptions import TaskCancelled
from django_partisan.sql.cancelling import CancelledTask, Cancelling, cancel
from django_partisan.sql.connection import task_connection
from django_partisan.sql.control import notify_control
from django_partisan.sql.errors import ErrorKind, kind_of
from django_partisan.sql.lock_wait import limit_lock_wait
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import CancelRequested, ErrorInfo, TasksCancelled

BATCH: Final = 500
LOCK_TIMEOUT: Final = "200ms"
"""How long a batch waits for another transaction that requests the same; less than ``deadlock_timeout``."""
EMITTED_IDS: Final = 100


class CancelResult(NamedTuple):
    """How many tasks were cancelled, and how many that managers hold were requested to end."""

    cancelled: int = 0
    requested: int = 0


def cancel_all(ids: Sequence[int], comment: str = "") -> Iterator[CancelResult]:
    """Cancel the tasks among ``ids`` that have not ended; yield after each batch what was done of it."""
    for tasks in cancel_batches(ids, comment):
        requested = sum(task.is_requested for task in tasks)
        yield CancelResult(len(tasks) - requested, requested)


def cancel_batches(ids: Sequence[int], comment: str = "") -> Iterator[list[CancelledTask]]:
    """Cancel the tasks among ``ids`` that have not ended; yield after each batch those tasks of it.

    Each batch is a transaction, or a savepoint in the caller's.
    """
    connection = task_connection()
    cancelling = cancelling_for(comment)
    in_order = sorted(ids)
    for start in range(0, len(in_order), BATCH):
        tasks = _cancel(connection, in_order[start : start + BATCH], cancelling)
        for queue in {task.queue for task in tasks if task.is_requested}:
            after_commit(connection, partial(notify_control, connection, queue, "cancel"))
        emit_after_commit(connection, tasks, cancelling.comment)
        yield tasks


def cancelling_for(comment: str) -> Cancelling:
    """Return what to write to the rows of tasks that are cancelled with a comment."""
    comment = comment.replace("\0", "").encode("utf-8", "replace").decode()  # as PostgreSQL can store it
    error = ErrorInfo.of(cancelled(comment))
    return Cancelling(error.type, error.message, comment)


def cancelled(comment: str) -> TaskCancelled:
    """Return the error of a task that was cancelled with a comment."""
    return TaskCancelled(comment or "The task was cancelled.")


def _cancel(
    connection: BaseDatabaseWrapper, ids: Sequence[int], cancelling: Cancelling
) -> list[CancelledTask]:
    """Cancel tasks in one statement, and in halves if it would have to wait; one alone waits."""
    try:
        return _cancel_at_once(connection, ids, cancelling, None if len(ids) == 1 else LOCK_TIMEOUT)
    except DatabaseError as error:
        if kind_of(error) is not ErrorKind.LOCKED or len(ids) == 1:
            raise
    middle = len(ids) // 2
    halves = ids[:middle], ids[middle:]
    return [task for half in halves for task in _cancel(connection, half, cancelling)]


def _cancel_at_once(
    connection: BaseDatabaseWrapper, ids: Sequence[int], cancelling: Cancelling, lock_timeout: str | None
) -> list[CancelledTask]:
    with transaction.atomic(using=connection.alias):
        if lock_timeout is None:
            return cancel(connection, ids, cancelling)
        before = limit_lock_wait(connection, lock_timeout)
        tasks = cancel(connection, ids, cancelling)
        limit_lock_wait(connection, before)  # the caller's transaction goes on
    return tasks


def emit_after_commit(connection: BaseDatabaseWrapper, tasks: Sequence[CancelledTask], comment: str) -> None:
    """Emit what was done, for each processor, when the transaction commits."""
    if tasks and (bus.wanted(TasksCancelled) or bus.wanted(CancelRequested)):
        after_commit(connection, partial(emit, tasks, comment))


def emit(tasks: Sequence[CancelledTask], comment: str) -> None:
    """Emit that tasks were cancelled or their end was requested, for each processor."""
    groups: dict[tuple[bool, str, str], list[int]] = {}
    for task in tasks:
        groups.setdefault((task.is_requested, task.queue, task.processor), []).append(task.id)
    for (is_requested, queue, processor), ids in groups.items():
        kind = CancelRequested if is_requested else TasksCancelled
        bus.emit(kind, queue, processor, len(ids), comment, tuple(ids[:EMITTED_IDS]))
