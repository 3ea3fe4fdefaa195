"""Requeue failed tasks, wake managers, and emit events after the commit.

``Task.requeue()``, ``TaskQuerySet.requeue()``, ``partisan_requeue`` and the admin call this module.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from django_partisan.batches import batches, emit_after_commit, in_halves, with_lock_timeout
from django_partisan.enqueueing import wake_after_commit
from django_partisan.sql.changing import ChangedTask
from django_partisan.sql.connection import task_connection
from django_partisan.sql.requeueing import requeue
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.operators import TasksRequeued


def requeue_all(ids: Sequence[int], comment: str = "") -> Iterator[int]:
    """Requeue the failed tasks among ``ids``; yield the number of requeued tasks after each batch."""
    return map(len, requeue_batches(ids, comment))


def requeue_batches(ids: Sequence[int], comment: str = "") -> Iterator[list[ChangedTask]]:
    """Requeue the failed tasks among ``ids``; yield the requeued tasks after each batch.

    Each batch is a transaction, or a savepoint in the caller's. A task that has a duplicate is requeued
    without its unique key, so that both wait.
    """
    connection = task_connection()

    def act(part: Sequence[int], keep_keys: bool = True) -> list[ChangedTask]:
        return with_lock_timeout(connection, lambda: requeue(connection, part, keep_keys, comment))

    def emit(queue: str, processor: str, number: int) -> None:
        bus.emit(TasksRequeued, queue, processor, number)

    for batch in batches(ids):
        requeued = in_halves(batch, act, alone=partial(act, keep_keys=False))
        wake_after_commit(connection, {task.queue for task in requeued})
        emit_after_commit(connection, requeued, emit)
        yield requeued
