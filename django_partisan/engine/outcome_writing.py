"""One attempt to write outcomes of one kind: in one statement, or in halves if PostgreSQL refuses one."""

from collections.abc import Sequence
from enum import Enum
from typing import Any, Final, NamedTuple

from django.db import DatabaseError, Error, IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.exceptions import Unsettleable
from django_partisan.outcomes import FAILED, REASON_UNSETTLEABLE
from django_partisan.sql import settling
from django_partisan.sql.errors import ErrorKind, explained, kind_of
from django_partisan.sql.history import EndedRun
from django_partisan.sql.row_changes import STATUS_ERROR, Crash, Item, RowChange
from django_partisan.telemetry.events.values import ErrorInfo

LOCK_TIMEOUT_MS: Final = 200
"""How long a batch waits for locks, in milliseconds; less than ``deadlock_timeout``, 1 s."""


class Kind(Enum):
    """The kinds of outcomes, one per statement, in the order in which they are written."""

    COMPLETED = "the run completed, and the row is deleted"
    KEPT = "the run completed, and the row is kept"
    CRASHED = "the worker died, and the task runs again here"
    CHANGED = "the row changes in another way, as its ``RowChange`` describes"
    RELEASED = "the task did not run, or its run was stopped, and it waits again"

    @property
    def has_key(self) -> bool:
        """True if the rows wait again, under unique keys that other rows may hold by now."""
        return self in (Kind.CHANGED, Kind.RELEASED)


class WriteResult(NamedTuple):
    """The result of a write. Tasks are listed by id; those that are not listed are settled."""

    lost: list[int]
    """Tasks whose claims were lost."""
    unsettleable: list[tuple[int, ErrorInfo]]
    """Tasks whose outcomes PostgreSQL refused, with the error; they failed."""
    delayed: list[int]
    """Tasks to write again in smaller parts: the batch was too large, or others lock some of the rows."""
    later: list[int]
    """Tasks to write again later: other transactions lock their rows, or a single one took too long."""
    error: Error | None = None
    """Why tasks have to be written again."""
    blockers: str = ""
    """The sessions that lock the table or rows of ``later``, as far as they were looked up and found."""

    @property
    def left(self) -> list[int]:
        """The tasks to write again."""
        return [*self.delayed, *self.later]

    @property
    def is_cancelled(self) -> bool:
        """True if a statement was cancelled because it took too long."""
        return self.error is not None and kind_of(self.error) is ErrorKind.CANCELLED


class WriteAttempt:
    """One attempt to write items of one kind, and its result."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        kind: Kind,
        again: bool,
        lock_timeout_ms: int = LOCK_TIMEOUT_MS,
        keep_keys: bool = True,
    ) -> None:
        self._connection = connection
        self._kind = kind
        self._again = again
        self._lock_timeout_ms = lock_timeout_ms
        self._keep_keys = keep_keys
        self._lost: list[int] = []
        self._unsettleable: list[tuple[int, ErrorInfo]] = []
        self.delayed: list[int] = []
        self.later: list[int] = []
        self._error: Error | None = None

    @property
    def is_locked(self) -> bool:
        """True if the items were delayed by locks of other transactions."""
        return self._error is not None and kind_of(self._error) is ErrorKind.LOCKED

    def result(self) -> WriteResult:
        """Return the result."""
        return WriteResult(self._lost, self._unsettleable, self.delayed, self.later, self._error)

    def without_locked(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return the items whose rows no other transaction locks; the others go to ``later``."""
        pairs = [(item[0], item[1]) for item in items]
        try:
            locked = settling.locked_by_others(self._connection, pairs, self._lock_timeout_ms)
        except DatabaseError as error:
            if not self._delay_after(error, items):
                return items
            if self.is_locked:  # the whole table is locked
                self.later, self.delayed = self.delayed, []
            return []
        self.later = sorted(locked)
        return [item for item in items if item[0] not in locked]

    def write(self, items: Sequence[Item]) -> None:
        """Write items; once any are delayed, delay the rest too, so that no call waits twice."""
        if not items:
            return
        if self._error is not None:
            self._delay(items, self._error)
            return
        try:
            self._lost += self._execute(items, self._keep_keys)
        except DatabaseError as error:
            if not self._delay_after(error, items):
                self._write_halves(items, error)

    def _execute(self, items: Sequence[Any], keep_keys: bool) -> list[int]:
        connection, again, timeout = self._connection, self._again, self._lock_timeout_ms
        if self._kind is Kind.COMPLETED:
            return settling.delete_completed(connection, items, again, timeout)
        if self._kind is Kind.KEPT:
            return settling.finish_completed(connection, items, again, timeout)
        if self._kind is Kind.CRASHED:
            return settling.count_crashes(connection, items, timeout)
        if self._kind is Kind.CHANGED:
            return settling.apply_changes(connection, items, keep_keys, again, timeout)
        return settling.release(connection, items, keep_keys, again, timeout)

    def _write_halves(self, items: Sequence[Item], refusal: DatabaseError) -> None:
        if len(items) == 1:
            self._write_single(items[0], refusal)
            return
        middle = len(items) // 2
        self.write(items[:middle])
        self.write(items[middle:])

    def _write_single(self, item: Item, refusal: DatabaseError) -> None:
        """Write a refused item: without its unique key if it meets a duplicate; otherwise fail its task."""
        try:
            if isinstance(refusal, IntegrityError) and self._kind.has_key:
                try:
                    self._lost += self._execute([item], keep_keys=False)
                    return
                except IntegrityError as other:
                    refusal = other
            self._fail(item, refusal)
        except DatabaseError as error:
            if not self._delay_after(error, [item]):
                self._fail(item, error)

    def _fail(self, item: Item, refusal: DatabaseError) -> None:
        error = ErrorInfo.of(Unsettleable(f"PostgreSQL refused the outcome: {str(refusal).strip()}"))
        failure = RowChange(
            item[0],
            item[1],
            STATUS_ERROR,
            attempts=item.attempts if isinstance(item, RowChange) else int(self._kind is not Kind.RELEASED),
            reason=REASON_UNSETTLEABLE,
            error_type=error.type,
            error_message=error.message.replace("\0", ""),
            error_traceback="",
        )
        started = item.started if isinstance(item, RowChange | Crash) else None
        failure = failure.after(FAILED, EndedRun(started))
        try:
            timeout = self._lock_timeout_ms
            self._lost += settling.apply_changes(
                self._connection, [failure], again=self._again, lock_timeout_ms=timeout
            )
        except DatabaseError as other:
            if self._delay_after(other, [item]):
                return
            # Refused too: the error is emitted, and the row stays in process but does not hold up the others.
        self._unsettleable.append((item[0], error))

    def _delay_after(self, error: DatabaseError, items: Sequence[Item]) -> bool:
        """Mark items to be written again; return False if that would not help. Raises outages."""
        kind = kind_of(error)
        if kind in (ErrorKind.OUTAGE, ErrorKind.READ_ONLY):
            raise error
        if kind is ErrorKind.REFUSED:
            return False
        if kind is ErrorKind.CANCELLED and len(items) == 1:
            self.later.append(items[0][0])
            self._error = explained(error)
        else:
            self._delay(items, error)
        return True

    def _delay(self, items: Sequence[Item], error: Error) -> None:
        self.delayed += [item[0] for item in items]
        self._error = error
