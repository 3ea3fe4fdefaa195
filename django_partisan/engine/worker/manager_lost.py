"""What a worker does when its manager has died: settle what it ran, release the rest."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing

from django.db import Error

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.settling import write_all
from django_partisan.engine.writing import Item, Kind
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.connection import open_connection
from django_partisan.sql.settling import Pair, RowChange

PAUSE_SECONDS = 0.5


def settle_without_manager(
    config: QueueConfig,
    completed: Sequence[Pair],
    changes: Sequence[RowChange],
    not_started: Sequence[TaskRow],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Write the outcomes and release the tasks, under the claims of the dead manager.

    What cannot be written, without a database or because others lock the rows, is tried again until the
    lease has expired: from then on another manager runs the tasks. Raises if there is no database then.
    """
    deadline = time.monotonic() + config.lease_seconds
    left: dict[Kind, Sequence[Item]] = {
        Kind.COMPLETED: completed,
        Kind.RELEASED: [(row[ID], row[TOKEN]) for row in not_started],
        Kind.CHANGED: changes,
    }
    while True:
        with closing(open_connection(f"orphan {config.queue}")) as connection:
            try:
                for kind, items in left.items():
                    left[kind] = write_all(connection, kind, items, config.delete_tasks_on_complete)
            except Error:
                if time.monotonic() > deadline:
                    raise
        if not any(left.values()) or time.monotonic() > deadline:
            return
        sleep(PAUSE_SECONDS)
