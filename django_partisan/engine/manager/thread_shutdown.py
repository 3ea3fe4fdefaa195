"""End a manager's database threads within a limited time, whatever PostgreSQL does."""

import time
from collections.abc import Collection
from typing import Final

from django_partisan.engine.manager.database_thread import DatabaseThread

HANG_UP_SECONDS: Final = 0.5
"""How long threads may take to end after their connections were hung up."""


def end_all(threads: Collection[DatabaseThread], seconds: float) -> bool:
    """End threads together, and after ``seconds`` hang up on the rest; return whether all have ended."""
    for thread in threads:
        thread.end()
    late = _join(threads, seconds)
    for thread in late:
        thread.hang_up()
    return not _join(late, HANG_UP_SECONDS)


def _join(threads: Collection[DatabaseThread], seconds: float) -> list[DatabaseThread]:
    """Wait for threads to end; return those that did not end in time."""
    deadline = time.monotonic() + seconds
    return [thread for thread in threads if not thread.join(max(0.0, deadline - time.monotonic()))]
