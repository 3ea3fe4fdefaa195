"""Count and prune rows of ended tasks in batches, at a limited rate.

``partisan_prune`` calls this module. Managers prune on their own, in ``engine/manager/pruner.py``.
"""

import time
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql import pruning
from django_partisan.sql.pruning import Batch, Walk

Act: TypeAlias = Callable[[BaseDatabaseWrapper, Walk], Batch]

COUNT_ROWS: Final = 20_000
"""How many rows one statement counts."""
DELETE_ROWS: Final = 500
"""How many rows one statement deletes."""


def count_all(connection: BaseDatabaseWrapper, walk: Walk) -> Iterator[Batch]:
    """Count all rows of a ``walk`` that are due for pruning; yield the result of each batch."""
    return _batches(connection, walk._replace(rows=COUNT_ROWS, read=COUNT_ROWS), pruning.count)


def prune_all(connection: BaseDatabaseWrapper, walk: Walk, rows_per_second: float) -> Iterator[Batch]:
    """Delete all rows of a ``walk`` that are due for pruning; yield the result of each batch.

    Waits between batches so that at most ``rows_per_second`` are deleted.
    """
    began, deleted = time.monotonic(), 0
    for batch in _batches(connection, walk._replace(rows=DELETE_ROWS), pruning.prune):
        yield batch
        deleted += sum(batch.numbers.values())
        if not batch.is_over:
            time.sleep(max(0.0, began + deleted / rows_per_second - time.monotonic()))


def _batches(connection: BaseDatabaseWrapper, walk: Walk, act: Act) -> Iterator[Batch]:
    is_over = False
    while not is_over:
        with transaction.atomic(using=connection.alias):
            pruning.limit_transaction(connection)
            batch = act(connection, walk)
        walk, is_over = walk._replace(after=batch.last), batch.is_over
        yield batch
