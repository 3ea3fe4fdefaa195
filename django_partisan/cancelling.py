"""How tasks are cancelled, who is notified, and what is emitted.

``Task.cancel()``, ``TaskQuerySet.cancel()`` and ``partisan_cancel`` call this module.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.batches import at_once, batches, in_halves
from django_partisan.enqueueing import after_commit
from django_partisan.exceptions import TaskCancelled
from django_partisan.sql.cancelling import CancelledTask, Cancelling, cancel
from django_partisan.sql.connection import task_connection
from django_partisan.sql.control import notify_control
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.operators import CancelRequested, TasksCancelled
from django_partisan.telemetry.events.values import ErrorInfo

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

    Each batch is a transaction, or a savepoint in the caller's. One task waits for another transaction that
    requests the same, as long as that takes.
    """
    connection = task_connection()
    cancelling = cancelling_for(comment)

    def act(part: Sequence[int]) -> list[CancelledTask]:
        return cancel(connection, part, cancelling)

    def alone(part: Sequence[int]) -> list[CancelledTask]:
        with transaction.atomic(using=connection.alias):
            return act(part)

    for batch in batches(ids):
        tasks = in_halves(batch, lambda part: at_once(connection, partial(act, part)), alone)
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
