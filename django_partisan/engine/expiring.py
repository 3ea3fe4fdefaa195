"""Find claimed tasks that have expired, and end them without a run, as if they had been cancelled.

Only a task that never started can expire. A task whose run was lost, or that may have started, runs again.
"""

from itertools import repeat
from operator import is_not, itemgetter
from typing import Final

from django_partisan.engine import boot_clock
from django_partisan.exceptions import TaskExpired
from django_partisan.outcomes import FAILED, REASON_EXPIRED
from django_partisan.sql.claiming import ATTEMPTS, EXPIRES, ID, TAKEOVERS, TOKEN, TaskRow
from django_partisan.sql.history import history_entry
from django_partisan.sql.row_changes import STATUS_ERROR, RowChange
from django_partisan.telemetry.events.values import ErrorInfo

ERROR: Final = ErrorInfo.of(TaskExpired("The task expired before it started."))
_ENTRY: Final = history_entry(
    FAILED, reason=REASON_EXPIRED, error_type=ERROR.type, error_message=ERROR.message
)


_expires = itemgetter(EXPIRES)


def may_expire(rows: list[TaskRow]) -> bool:
    """Return whether any task has an expiry."""
    return any(map(is_not, map(_expires, rows), repeat(None)))  # iterates in C: no Python bytecode per row


def with_deadlines(rows: list[TaskRow], since: float | None = None) -> list[TaskRow]:
    """Return the rows with ``EXPIRES`` converted to a time on the boot clock, as ``has_expired()`` expects.

    ``since`` is the boot-clock time at which the claim was sent; it defaults to the current time. The
    converted value stays valid however long a task waits, and in every process on this host.
    """
    if not may_expire(rows):
        return rows
    start = boot_clock.now() if since is None else since
    return [
        row if row[EXPIRES] is None else (*row[:EXPIRES], start + row[EXPIRES], row[TOKEN]) for row in rows
    ]


def has_expired(row: TaskRow) -> bool:
    """Return whether a task has expired and must not start; ``row`` comes from ``with_deadlines()``."""
    deadline = row[EXPIRES]
    if deadline is None or row[ATTEMPTS] or row[TAKEOVERS]:
        return False
    return boot_clock.now() >= deadline


def expire(row: TaskRow) -> RowChange:
    """Return the row change that ends an expired task."""
    return RowChange(
        row[ID],
        row[TOKEN],
        STATUS_ERROR,
        attempts=0,
        reason=REASON_EXPIRED,
        error_type=ERROR.type,
        error_message=ERROR.message,
        error_traceback="",
        entry=_ENTRY,
    )
