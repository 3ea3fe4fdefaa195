"""Make waiting tasks due, change their priority, and delete tasks that have ended.

The admin calls this module. Each function works in batches, each a transaction or a savepoint in the
caller's, and yields the changed tasks of each batch.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.batches import batches, emit_after_commit
from django_partisan.enqueueing import wake_after_commit
from django_partisan.outcomes import DELETED, DUE_NOW, PRIORITIZED
from django_partisan.sql import changing
from django_partisan.sql.changing import ChangedTask
from django_partisan.sql.connection import task_connection
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.operators import TasksChanged


def run_now_all(ids: Sequence[int], comment: str = "") -> Iterator[list[ChangedTask]]:
    """Make the scheduled tasks among ``ids`` due now, including those that wait for a retry."""
    for connection, changed in _in_batches(ids, DUE_NOW, partial(changing.run_now, comment=comment)):
        wake_after_commit(connection, {task.queue for task in changed})
        yield changed


def prioritize_all(ids: Sequence[int], priority: int, comment: str = "") -> Iterator[list[ChangedTask]]:
    """Set the priority of the waiting tasks among ``ids``; skip those that already have it."""
    change = partial(changing.prioritize, priority=priority, comment=comment)
    for _, changed in _in_batches(ids, PRIORITIZED, change):
        yield changed


def delete_all(ids: Sequence[int]) -> Iterator[list[ChangedTask]]:
    """Delete the finished and failed tasks among ``ids``."""
    for _, changed in _in_batches(ids, DELETED, changing.delete):
        yield changed


def _in_batches(
    ids: Sequence[int], kind: str, change: Callable[[BaseDatabaseWrapper, Sequence[int]], list[ChangedTask]]
) -> Iterator[tuple[BaseDatabaseWrapper, list[ChangedTask]]]:
    connection = task_connection()

    def emit(queue: str, processor: str, number: int) -> None:
        bus.emit(TasksChanged, queue, processor, number, kind)

    for batch in batches(ids):
        with transaction.atomic(using=connection.alias):
            changed = change(connection, batch)
        emit_after_commit(connection, changed, emit)
        yield connection, changed
