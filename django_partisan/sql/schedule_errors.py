"""Record in the row of a schedule why its tick could not be enqueued."""

from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import fetch_all
from django_partisan.sql.scheduling import RETRY_SECONDS_AT_MOST, LockedSchedule

# A row that has ticked or changed since it was read is not written.
_STILL: Final = "name = %(name)s AND next_at = %(next_at)s::timestamptz AND fingerprint = %(fingerprint)s"
_IS_NEW: Final = "right({}error, length(%(kind)s)) <> %(kind)s"
# The delay before the next attempt: 1, 2, 4 ... seconds.
_FAILURES: Final = "greatest(schedule.failures, 0)"
_WRITE_FAILED: Final = f"""
    WITH before AS MATERIALIZED (
        SELECT name, error FROM django_partisan_schedule WHERE {_STILL} FOR UPDATE SKIP LOCKED
    )
    UPDATE django_partisan_schedule AS schedule
       SET error = %(error)s, failures = least({_FAILURES}, 1000) + 1,
           retry_at = clock_timestamp()
                    + least(2 ^ least({_FAILURES}, 10), {RETRY_SECONDS_AT_MOST}) * interval '1 second'
      FROM before WHERE schedule.name = before.name
    RETURNING {_IS_NEW.format("before.")}
"""
_WRITE_FAULT: Final = f"""
    UPDATE django_partisan_schedule SET error = %(error)s
     WHERE {_STILL} AND {_IS_NEW.format("")} RETURNING name
"""


def write_failed(
    connection: BaseDatabaseWrapper, locked: LockedSchedule, error: str, kind: str
) -> bool | None:
    """Record why enqueueing a tick failed, and when it is tried again: after 1 to 60 s.

    ``error`` ends with ``kind``. Return whether the row had no error, or one of another kind, before;
    ``None`` if it has ticked or changed since it was read.
    """
    rows = fetch_all(connection, _WRITE_FAILED, _of_error(locked, error, kind))
    return bool(rows[0][0]) if rows else None


def write_fault(connection: BaseDatabaseWrapper, locked: LockedSchedule, error: str, kind: str) -> bool:
    """Record why no manager enqueues a tick; any manager may try again at once.

    ``error`` ends with ``kind``. Return whether the row had no error, or one of another kind, before.
    """
    return bool(fetch_all(connection, _WRITE_FAULT, _of_error(locked, error, kind)))


def _of_error(locked: LockedSchedule, error: str, kind: str) -> dict[str, Any]:
    return {
        "name": locked.row.name,
        "next_at": locked.next_at_text,
        "fingerprint": locked.row.fingerprint,
        "error": error,
        "kind": kind,
    }
