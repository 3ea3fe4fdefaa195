"""What a worker does when its manager is gone: settle what it ran by itself, give back the rest."""

import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

from django.db import Error

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.settling import Pair, write_outcomes, write_releases
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.connection import open_connection
from django_partisan.sql.settling import RowChange

_PAUSE_SECONDS = 0.5


def settle_as_orphan(
    config: QueueConfig,
    completed: Sequence[Pair],
    changes: Sequence[tuple[Any, ...]],
    not_begun: Sequence[TaskRow],
) -> None:
    """Write the outcomes and release the tasks, under the claims of the manager that is gone.

    Without a database it tries until the lease is over; from then on somebody else runs the tasks.
    """
    deadline = time.monotonic() + config.lease_seconds
    outcomes = [RowChange(*values) for values in changes]
    pairs = [(row[ID], row[TOKEN]) for row in not_begun]
    while True:
        with closing(open_connection(f"orphan {config.queue}")) as connection:
            try:
                write_outcomes(connection, completed, outcomes, config.delete_tasks_on_complete)
                write_releases(connection, pairs)
                return
            except Error:
                if time.monotonic() > deadline:
                    raise
        time.sleep(_PAUSE_SECONDS)
