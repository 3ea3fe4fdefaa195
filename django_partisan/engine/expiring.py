"""Which claimed tasks have expired, and how they end: without a run, as if somebody had cancelled them.

Only a task that never started expires. One whose run was lost, or of which nobody knows whether it had begun,
runs again.
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

ERROR: Final = ErrorInfo.of(TaskExpired("The task had not started when it expired."))
_ENTRY: Final = history_entry(
    FAILED, reason=REASON_EXPIRED, error_type=ERROR.type, error_message=ERROR.message
)


_expires = itemgetter(EXPIRES)


def may_expire(rows: list[TaskRow]) -> bool:
    """Return whether any task has an expiry."""
    return any(map(is_not, map(_expires, rows), repeat(None)))  # without a step in Python for each row


def with_deadlines(rows: list[TaskRow], since: float | None = None) -> list[TaskRow]:
    """Return rows as ``has_expired()`` takes them: ``EXPIRES`` is a moment of the boot clock.

    ``since`` is when their claim was sent, by that clock; by default it is now. A moment stays true however
    long a task waits, in whichever process of this host.
    """
    if not may_expire(rows):
        return rows
    start = boot_clock.now() if since is None else since
    return [
        row if row[EXPIRES] is None else (*row[:EXPIRES], start + row[EXPIRES], row[TOKEN]) for row in rows
    ]


def has_expired(row: TaskRow) -> bool:
    """Return whether a task, with its deadline, must not start."""
    deadline = row[EXPIRES]
    if deadline is None or row[ATTEMPTS] or row[TAKEOVERS]:
        return False
    return boot_clock.now() >= deadline


def expire(row: TaskRow) -> RowChange:
    """Return the change that ends an expired task."""
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
