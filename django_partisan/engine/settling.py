"""Write outcomes so that one row that PostgreSQL refuses spoils no other."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeVar

from django.db import DatabaseError, IntegrityError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.exceptions import Unsettleable
from django_partisan.outcomes import REASON_UNSETTLEABLE
from django_partisan.sql.settling import STATUS_ERROR, RowChange, apply_changes, release, settle_completed
from django_partisan.telemetry.events import ErrorInfo

T = TypeVar("T")
Pair = tuple[int, int]

READ_ONLY: Final = "25006"
"""SQLSTATE of a server that became a standby: it refuses all, whatever the outcome."""


class Written(NamedTuple):
    """What a write found: claims that were lost, tasks that could not be settled as they were."""

    lost: list[int]
    unsettleable: list[tuple[int, ErrorInfo]]


def write_outcomes(
    connection: BaseDatabaseWrapper,
    completed: Sequence[Pair],
    changes: Sequence[RowChange],
    delete: bool,
    again: bool = False,
) -> Written:
    """Settle a batch in two statements; ``changes`` first, which may count a crash of a completed task."""
    unsettleable: list[tuple[int, ErrorInfo]] = []

    def write_alone(outcome: RowChange, refusal: DatabaseError) -> list[int]:
        if isinstance(refusal, IntegrityError):
            try:  # it waits again and meets a duplicate: both stay, and it gives up its key
                return apply_changes(connection, [outcome], keep_keys=False, again=again)
            except IntegrityError as other:
                refusal = other
        return fail((outcome.id, outcome.token), refusal)

    def fail(pair: Pair, refusal: DatabaseError) -> list[int]:
        error = ErrorInfo.of(Unsettleable(f"PostgreSQL refused the outcome: {str(refusal).strip()}"))
        unsettleable.append((pair[0], error))
        failure = RowChange(
            *pair,
            STATUS_ERROR,
            reason=REASON_UNSETTLEABLE,
            error_type=error.type,
            error_message=error.message.replace("\0", ""),
            error_traceback="",
        )
        try:
            return apply_changes(connection, [failure], again=again)
        except DatabaseError as other:
            _raise_unless_refused(other)
            return []  # it is emitted, stays in process, and holds up no other

    lost = _in_halves(changes, lambda some: apply_changes(connection, some, again=again), write_alone)
    lost += _in_halves(completed, lambda some: settle_completed(connection, some, delete, again), fail)
    return Written(lost, unsettleable)


def write_releases(connection: BaseDatabaseWrapper, pairs: Sequence[Pair]) -> list[int]:
    """Release tasks; return the ids of those whose claim was still ours."""
    return _in_halves(
        pairs,
        lambda some: release(connection, some),
        lambda pair, refusal: release(connection, [pair], keep_keys=False),
    )


def _in_halves(
    items: Sequence[T],
    write: Callable[[Sequence[T]], list[int]],
    write_alone: Callable[[T, DatabaseError], list[int]],
) -> list[int]:
    """Write all in one statement; if that is refused, halve until the culprit stands alone."""
    if not items:
        return []
    try:
        return write(items)
    except DatabaseError as refusal:
        _raise_unless_refused(refusal)
        if len(items) == 1:
            return write_alone(items[0], refusal)
    middle = len(items) // 2
    return _in_halves(items[:middle], write, write_alone) + _in_halves(items[middle:], write, write_alone)


def _raise_unless_refused(error: DatabaseError) -> None:
    """Raise the error if the database is away, busy or read-only: the same batch can be written later."""
    cause = error.__cause__
    is_read_only = READ_ONLY in (getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None))
    if is_read_only or isinstance(error, OperationalError):
        raise error
