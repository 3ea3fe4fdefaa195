"""Write outcomes, including those of runs whose claim PostgreSQL forgot in a crash.

The row of such a task has no claim, just like the row of a settled task. So forgotten claims are restored
before an outcome is written a second time, and before a claim is considered lost.
"""

from collections.abc import Sequence
from uuid import UUID

from django.db import DatabaseError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.engine.manager.delayed_outcomes import Part
from django_partisan.engine.outcome_writing import LOCK_TIMEOUT_MS, Kind, WriteResult
from django_partisan.engine.settling import PART_LOCK_TIMEOUT_MS, write, write_part
from django_partisan.sql.blocking import blocking_sessions
from django_partisan.sql.claiming import ID
from django_partisan.sql.errors import ErrorKind, explained, kind_of
from django_partisan.sql.forgotten import restore


def write_parts(connection: BaseDatabaseWrapper, parts: Sequence[Part], manager: UUID) -> list[WriteResult]:
    """Write the outcomes of a manager's runs; find the sessions that block those to be retried later."""
    return [_with_blockers(connection, _write_part(connection, part, manager)) for part in parts]


def _with_blockers(connection: BaseDatabaseWrapper, written: WriteResult) -> WriteResult:
    if not written.later:
        return written
    return written._replace(blockers=blocking_sessions(connection, written.later))


def _write_part(connection: BaseDatabaseWrapper, part: Part, manager: UUID) -> WriteResult:
    is_restorable = part.kind is not Kind.RELEASED  # without a claim, the task waits already
    if part.again and is_restorable:
        return _write_restored(connection, part, manager)
    written = _write(connection, part)
    if not (written.lost and is_restorable):
        return written
    lost = part._replace(entries=part.only(written.lost))
    then = _write_restored(connection, lost, manager)
    return WriteResult(
        then.lost,
        written.unsettleable + then.unsettleable,
        written.delayed + then.delayed,
        written.later + then.later,
        then.error or written.error,
    )


def _write_restored(connection: BaseDatabaseWrapper, part: Part, manager: UUID) -> WriteResult:
    """Restore forgotten claims, then write; if locks or a timeout prevent that, the outcomes are delayed."""
    rows = [row for row, _ in part.entries]
    try:
        restore(connection, manager, rows, PART_LOCK_TIMEOUT_MS if part.is_retry else LOCK_TIMEOUT_MS)
    except DatabaseError as error:
        kind = kind_of(error)
        if kind not in (ErrorKind.LOCKED, ErrorKind.CANCELLED):
            raise
        ids = [row[ID] for row in rows]
        if len(ids) > 1:
            return WriteResult([], [], ids, [], error)
        return WriteResult([], [], [], ids, explained(error) if kind is ErrorKind.CANCELLED else error)
    return _write(connection, part)


def _write(connection: BaseDatabaseWrapper, part: Part) -> WriteResult:
    call = write_part if part.is_retry else write
    return call(connection, part.kind, part.items(), part.again)
