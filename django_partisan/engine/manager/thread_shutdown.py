"""End a manager's database threads within a limited time, whatever PostgreSQL does."""

import time
from collections.abc import Collection
from typing import Final

from django_partisan.engine.manager.database_thread import DatabaseThread

SHUT_DOWN_SECONDS: Final = 0.5
"""How long threads may take to end after their connections were shut down."""


def end_all(threads: Collection[DatabaseThread], seconds: float) -> bool:
    """End threads; after ``seconds`` shut down the connections of the rest; return whether all ended."""
    for thread in threads:
        thread.end()
    late = _join(threads, seconds)
    for thread in late:
        thread.shut_down_connection()
    return not _join(late, SHUT_DOWN_SECONDS)


def _join(threads: Collection[DatabaseThread], seconds: float) -> list[DatabaseThread]:
    """Wait for threads to end; return those that did not end in time."""
    deadline = time.monotonic() + seconds
    return [thread for thread in threads if not thread.join(max(0.0, deadline - time.monotonic()))]
