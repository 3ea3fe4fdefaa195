"""Apply operators' actions to many tasks in batches, each a transaction or a savepoint in the caller's.

A batch waits only briefly for the locks of other transactions. If it would have to wait longer, or if a task
in it has a duplicate, its halves are tried separately, so that one such task does not block the others.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

from django.db import DatabaseError, IntegrityError, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.enqueueing import after_commit
from django_partisan.sql.errors import ErrorKind, kind_of
from django_partisan.sql.lock_wait import limit_lock_wait

T = TypeVar("T")

BATCH: Final = 500
LOCK_TIMEOUT: Final = "200ms"
"""How long a batch waits for locks of other transactions; below ``deadlock_timeout``, by default 1 s."""


class NamedTask(Protocol):
    """A task that was changed."""

    @property
    def queue(self) -> str:
        """Its queue."""

    @property
    def processor(self) -> str:
        """The registered name of its processor."""


def batches(ids: Sequence[int]) -> Iterator[list[int]]:
    """Yield the ids in ascending order, in lists of at most ``BATCH``."""
    in_order = sorted(ids)
    for start in range(0, len(in_order), BATCH):
        yield in_order[start : start + BATCH]


def with_lock_timeout(connection: BaseDatabaseWrapper, act: Callable[[], T]) -> T:
    """Call ``act`` in a transaction whose statements wait for locks no longer than ``LOCK_TIMEOUT``."""
    with transaction.atomic(using=connection.alias):
        before = limit_lock_wait(connection, LOCK_TIMEOUT)
        result = act()
        limit_lock_wait(connection, before)  # the caller's transaction may continue
    return result


def in_halves(
    ids: Sequence[int], act: Callable[[Sequence[int]], list[T]], alone: Callable[[Sequence[int]], list[T]]
) -> list[T]:
    """Call ``act`` with all ids; after an error, with each half, and ``alone`` with an id that still fails.

    Only errors about locks and duplicates are handled.
    """
    try:
        return act(ids)
    except DatabaseError as error:
        if not isinstance(error, IntegrityError) and kind_of(error) is not ErrorKind.LOCKED:
            raise
    if len(ids) == 1:
        return alone(ids)
    middle = len(ids) // 2
    return [*in_halves(ids[:middle], act, alone), *in_halves(ids[middle:], act, alone)]


def emit_after_commit(
    connection: BaseDatabaseWrapper, tasks: Sequence[NamedTask], emit: Callable[[str, str, int], None]
) -> None:
    """When the transaction commits, call ``emit`` with each queue, processor and number of tasks."""
    numbers = Counter((task.queue, task.processor) for task in tasks)

    def emit_all() -> None:
        for (queue, processor), number in numbers.items():
            emit(queue, processor, number)

    if numbers:
        after_commit(connection, emit_all)
