"""How failed tasks are requeued: in which batches, and what is emitted.

``Task.requeue()``, ``TaskQuerySet.requeue()`` and ``partisan_requeue`` call this module.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from django.db import DatabaseError, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.enqueueing import after_commit, wake_after_commit
from django_partisan.sql.connection import task_connection
from django_partisan.sql.errors import ErrorKind, kind_of
from django_partisan.sql.lock_wait import limit_lock_wait
from django_partisan.sql.requeueing import RequeuedTask, requeue
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import TasksRequeued

BATCH: Final = 500
LOCK_TIMEOUT: Final = "200ms"
"""How long a batch waits for a transaction that has inserted a duplicate; less than ``deadlock_timeout``."""


def requeue_all(ids: Sequence[int], comment: str = "") -> Iterator[int]:
    """Requeue the failed tasks among ``ids``; yield after each batch how many of it wait again."""
    return map(len, requeue_batches(ids, comment))


def requeue_batches(ids: Sequence[int], comment: str = "") -> Iterator[list[RequeuedTask]]:
    """Requeue the failed tasks among ``ids``; yield after each batch the tasks of it that wait again.

    Each batch is a transaction, or a savepoint in the caller's. A task that meets a duplicate stays in the
    table and gives up its key.
    """
    connection = task_connection()
    in_order = sorted(ids)
    for start in range(0, len(in_order), BATCH):
        requeued = _requeue(connection, in_order[start : start + BATCH], comment)
        wake_after_commit(connection, {task.queue for task in requeued})
        _emit_after_commit(connection, requeued)
        yield requeued


def _requeue(connection: BaseDatabaseWrapper, ids: Sequence[int], comment: str) -> list[RequeuedTask]:
    """Requeue tasks in one statement, and in halves if one of them meets a duplicate."""
    try:
        return _requeue_at_once(connection, ids, comment)
    except DatabaseError as error:
        if not isinstance(error, IntegrityError) and kind_of(error) is not ErrorKind.LOCKED:
            raise
    if len(ids) == 1:
        return _requeue_at_once(connection, ids, comment, keep_keys=False)
    middle = len(ids) // 2
    halves = ids[:middle], ids[middle:]
    return [task for half in halves for task in _requeue(connection, half, comment)]


def _requeue_at_once(
    connection: BaseDatabaseWrapper, ids: Sequence[int], comment: str, keep_keys: bool = True
) -> list[RequeuedTask]:
    with transaction.atomic(using=connection.alias):
        before = limit_lock_wait(connection, LOCK_TIMEOUT)
        requeued = requeue(connection, ids, keep_keys, comment)
        limit_lock_wait(connection, before)  # the caller's transaction goes on
    return requeued


def _emit_after_commit(connection: BaseDatabaseWrapper, requeued: Sequence[RequeuedTask]) -> None:
    numbers = Counter((task.queue, task.processor) for task in requeued)

    def emit_all() -> None:
        for (queue, processor), number in numbers.items():
            bus.emit(TasksRequeued, queue, processor, number)

    if numbers and bus.wanted(TasksRequeued):
        after_commit(connection, emit_all)
