"""What a worker does when its manager has died: settle what it ran, release the rest."""

import time
from collections.abc import Callable, Sequence
from contextlib import closing

from django.db import Error

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.settling import Pair, write_outcomes, write_releases
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.connection import open_connection
from django_partisan.sql.settling import RowChange

PAUSE_SECONDS = 0.5


def settle_without_manager(
    config: QueueConfig,
    completed: Sequence[Pair],
    changes: Sequence[RowChange],
    not_started: Sequence[TaskRow],
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Write the outcomes and release the tasks, under the claims of the dead manager.

    Without a database it tries again until the lease has expired, and raises: from then on another
    manager runs the tasks.
    """
    deadline = time.monotonic() + config.lease_seconds
    pairs = [(row[ID], row[TOKEN]) for row in not_started]
    while True:
        with closing(open_connection(f"orphan {config.queue}")) as connection:
            try:
                write_outcomes(connection, completed, changes, config.delete_tasks_on_complete)
                write_releases(connection, pairs)
                return
            except Error:
                if time.monotonic() > deadline:
                    raise
        sleep(PAUSE_SECONDS)
