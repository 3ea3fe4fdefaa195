"""Which claimed tasks have expired, and how they end: without a run, as if somebody had cancelled them.

Only a task that never started expires. One whose run was lost, or of which nobody knows whether it had begun,
runs again.
"""

from typing import Final

from django_partisan.exceptions import TaskExpired
from django_partisan.outcomes import FAILED, REASON_EXPIRED
from django_partisan.sql.claiming import ATTEMPTS, EXPIRES, ID, TAKEOVERS, TOKEN, TaskRow
from django_partisan.sql.history import history_entry
from django_partisan.sql.settling import STATUS_ERROR, RowChange
from django_partisan.telemetry.events import ErrorInfo

ERROR: Final = ErrorInfo.of(TaskExpired("The task had not started when it expired."))
_ENTRY: Final = history_entry(
    FAILED, reason=REASON_EXPIRED, error_type=ERROR.type, error_message=ERROR.message
)


def has_expired(row: TaskRow, claimed_seconds: float) -> bool:
    """Return whether a task must not start, whose claim returned ``claimed_seconds`` ago."""
    expires = row[EXPIRES]
    return expires is not None and claimed_seconds >= expires and not row[ATTEMPTS] and not row[TAKEOVERS]


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
