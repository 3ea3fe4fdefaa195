"""Cancel tasks, notify the managers that hold them, and emit events after the commit.

``Task.cancel()``, ``TaskQuerySet.cancel()`` and ``partisan_cancel`` call this module.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.batches import batches, in_halves, with_lock_timeout
from django_partisan.enqueueing import after_commit
from django_partisan.exceptions import TaskCancelled
from django_partisan.sql.cancelling import Cancellation, CancelledTask, cancel
from django_partisan.sql.connection import task_connection
from django_partisan.sql.control import notify_control
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.operators import CancelRequested, TasksCancelled
from django_partisan.telemetry.events.values import ErrorInfo

EMITTED_IDS: Final = 100


class CancelResult(NamedTuple):
    """How many tasks were cancelled, and how many tasks that managers have claimed were asked to end."""

    cancelled: int = 0
    requested: int = 0


def cancel_all(ids: Sequence[int], comment: str = "") -> Iterator[CancelResult]:
    """Cancel the tasks among ``ids`` that have not ended; yield the result of each batch."""
    for tasks in cancel_batches(ids, comment):
        requested = sum(task.is_requested for task in tasks)
        yield CancelResult(len(tasks) - requested, requested)


def cancel_batches(ids: Sequence[int], comment: str = "") -> Iterator[list[CancelledTask]]:
    """Cancel the tasks among ``ids`` that have not ended; yield these tasks after each batch.

    Each batch is a transaction, or a savepoint in the caller's. If another transaction is requesting the end
    of the same task, this waits, without a time limit, until that transaction ends.
    """
    connection = task_connection()
    cancelling = cancellation_for(comment)

    def act(part: Sequence[int]) -> list[CancelledTask]:
        return cancel(connection, part, cancelling)

    def alone(part: Sequence[int]) -> list[CancelledTask]:
        with transaction.atomic(using=connection.alias):
            return act(part)

    for batch in batches(ids):
        tasks = in_halves(batch, lambda part: with_lock_timeout(connection, partial(act, part)), alone)
        for queue in {task.queue for task in tasks if task.is_requested}:
            after_commit(connection, partial(notify_control, connection, queue, "cancel"))
        emit_after_commit(connection, tasks, cancelling.comment)
        yield tasks


def cancellation_for(comment: str) -> Cancellation:
    """Return the values to write to the rows of tasks that are cancelled with a comment."""
    comment = comment.replace("\0", "").encode("utf-8", "replace").decode()  # what PostgreSQL can store
    error = ErrorInfo.of(cancelled(comment))
    return Cancellation(error.type, error.message, comment)


def cancelled(comment: str) -> TaskCancelled:
    """Return the error for a task that was cancelled with a comment."""
    return TaskCancelled(comment or "The task was cancelled.")


def emit_after_commit(connection: BaseDatabaseWrapper, tasks: Sequence[CancelledTask], comment: str) -> None:
    """When the transaction commits, emit an event for each queue and processor."""
    if tasks and (bus.wanted(TasksCancelled) or bus.wanted(CancelRequested)):
        after_commit(connection, partial(emit, tasks, comment))


def emit(tasks: Sequence[CancelledTask], comment: str) -> None:
    """Emit ``TasksCancelled`` or ``CancelRequested`` for each queue and processor."""
    groups: dict[tuple[bool, str, str], list[int]] = {}
    for task in tasks:
        groups.setdefault((task.is_requested, task.queue, task.processor), []).append(task.id)
    for (is_requested, queue, processor), ids in groups.items():
        kind = CancelRequested if is_requested else TasksCancelled
        bus.emit(kind, queue, processor, len(ids), comment, tuple(ids[:EMITTED_IDS]))
