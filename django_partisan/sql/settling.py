"""Write what came of many runs in one statement, each under the claim that it ends.

With ``lock_timeout_ms`` the wait for other transactions' locks ends after that time, with an error of
``ErrorKind.LOCKED``. The limit goes in the statement's own message and ends with its transaction.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from operator import itemgetter
from time import monotonic
from typing import Any, Final, NamedTuple, TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.outcomes import COMPLETED, CRASHED
from django_partisan.sql.array_literals import array_of, element
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.history import UNKNOWN_RUN, EndedRun, history_entry
from django_partisan.sql.schema import qualified
from django_partisan.sql.settling_statements import (
    APPLY,
    COUNT_CRASHES,
    COUNTED,
    DELETE,
    FINISH,
    LOCKED,
    RELEASE,
    TAKEN_OVER,
)

Pair: TypeAlias = tuple[int, int]
"""The id of a task and the token of the claim that its outcome ends."""

Kept: TypeAlias = tuple[int, int, int, str, str | None]
"""A completed run whose row is kept: id, token, its start in monotonic microseconds, its worker, and what it
returned, as JSON text."""

_id = itemgetter(0)

STATUS_NEW: Final = "new"
STATUS_ERROR: Final = "error"
STATUS_FINISHED: Final = "finished"


class RowChange(NamedTuple):
    """What is written to a row when its run did not complete, or completed after others that did not.

    ``status`` is what it becomes: ``new`` (after ``delay`` seconds), ``error`` or ``finished``. The numbers
    are added to the row's counters.
    """

    id: int
    token: int
    status: str
    delay: float = 0.0
    attempts: int = 1
    postpones: int = 0
    retries: int = 0
    crashes: int = 0
    reason: str | None = None
    error_type: str | None = None
    error_message: str | None = None
    error_traceback: str | None = None
    context: str | None = None
    held: str | None = None
    """Why the task is held, if it is: it then waits as before its claim."""

    entry: str | None = None
    """The entry of the run for the history; ``None`` if nothing ran."""
    result: str | None = None
    """What the run returned, as JSON text."""
    started: float | None = None
    """When the run started, in monotonic seconds of the host."""

    @classmethod
    def complete(cls, task_id: int, token: int, run: EndedRun, result: str | None = None) -> "RowChange":
        """Return the change of a completed run whose row is kept, with its history."""
        return cls(task_id, token, STATUS_FINISHED, result=result).after(COMPLETED, run)

    @classmethod
    def hold(cls, task_id: int, token: int, reason: str) -> "RowChange":
        """Return the change that holds a task that did not run."""
        return cls(task_id, token, STATUS_NEW, attempts=0, held=reason)

    def after(self, outcome: str, run: EndedRun = UNKNOWN_RUN, comment: str | None = None) -> "RowChange":
        """Return this change with the entry for the history, of the run that it ends."""
        made = history_entry(
            outcome,
            run,
            reason=self.reason,
            error_type=self.error_type,
            error_message=self.error_message,
            error_traceback=self.error_traceback,
            comment=comment,
        )
        return self._replace(entry=made, started=run.started)


class Crash(NamedTuple):
    """The death of a worker in the run of a task that is to run again, under a token of its own.

    ``entry`` and ``started`` are those of ``RowChange``.
    """

    id: int
    token: int
    new_token: int
    entry: str = history_entry(CRASHED)
    started: float | None = None


class Stopped(NamedTuple):
    """A task that is released although it started: its run was stopped, and it does not expire any more."""

    id: int
    token: int


Item: TypeAlias = Pair | Kept | RowChange | Crash | Stopped
"""What is written to one row; its first two values are the id and the claim token."""


def microseconds(moment: float) -> int:
    """Return a moment in seconds as ``Kept`` has it: integers cost less to write."""
    return int(moment * 1e6)


def delete_completed(
    connection: BaseDatabaseWrapper,
    pairs: Sequence[Pair],
    again: bool = False,
    lock_timeout_ms: int | None = None,
    schema: str = "",
) -> list[int]:
    """Delete the rows of completed runs; return the ids whose claim was lost.

    ``again`` says that the answer to a first try was lost. ``schema``, quoted for SQL, names the schema of
    the table if the caller may have changed ``search_path``.
    """
    sql = _limited(DELETE, lock_timeout_ms, schema)
    return _lost(connection, pairs, _ids(fetch_all(connection, sql, _named(pairs))), again)


def finish_completed(
    connection: BaseDatabaseWrapper,
    runs: Sequence[Kept],
    again: bool = False,
    lock_timeout_ms: int | None = None,
    schema: str = "",
) -> list[int]:
    """Finish the rows of completed runs, and keep them; as ``delete_completed()``."""
    sql = _limited(FINISH, lock_timeout_ms, schema)
    parameters = (*_kept_arrays(runs), *_id_bounds(runs))
    return _lost(connection, runs, _ids(fetch_all(connection, sql, parameters)), again)


def apply_changes(
    connection: BaseDatabaseWrapper,
    outcomes: Sequence[RowChange],
    keep_keys: bool = True,
    again: bool = False,
    lock_timeout_ms: int | None = None,
    schema: str = "",
) -> list[int]:
    """Write outcomes; return the ids whose claim was lost. ``schema`` is that of ``delete_completed()``.

    Raises ``IntegrityError`` if a row meets a duplicate, and waits for the end of a transaction that
    has inserted one; ``keep_keys=False`` makes the rows give up their keys.
    """
    *columns, started = (list(column) for column in zip(*outcomes, strict=True))
    sql = _limited(APPLY, lock_timeout_ms, schema)
    parameters = (*columns, _ages(started), keep_keys, *_id_bounds(outcomes))
    settled = _ids(fetch_all(connection, sql, parameters))
    return _lost(connection, outcomes, settled, again)


def release(
    connection: BaseDatabaseWrapper,
    tasks: Sequence[Pair | Stopped],
    keep_keys: bool = True,
    again: bool = False,
    lock_timeout_ms: int | None = None,
) -> list[int]:
    """Release tasks that were not started, or whose run was stopped; return the ids whose claim was lost.

    Meets duplicates as ``apply_changes()`` does.
    """
    sql = _limited(RELEASE, lock_timeout_ms)
    stopped = array_of(task.id for task in tasks if isinstance(task, Stopped))
    released = _ids(fetch_all(connection, sql, (keep_keys, stopped, *_named(tasks))))
    return _lost(connection, tasks, released, again)


def count_crashes(
    connection: BaseDatabaseWrapper, crashes: Sequence[Crash], lock_timeout_ms: int | None = None
) -> list[int]:
    """Count crashes and put the new tokens in place; return the ids of the rows that are not ours.

    Every other row carries its new token, also if the answer to a first try was lost.
    """
    *numbers, entries, started = zip(*crashes, strict=True)
    ids, tokens, new_tokens = map(array_of, numbers)
    sql = _limited(COUNT_CRASHES, lock_timeout_ms)
    parameters = (ids, tokens, new_tokens, list(entries), _ages(started), *_id_bounds(crashes))
    counted = set(_ids(fetch_all(connection, sql, parameters)))
    if len(counted) < len(crashes):  # a statement of its own sees what a first try committed meanwhile
        renewed = [(crash.id, crash.new_token) for crash in crashes]
        counted.update(_ids(fetch_all(connection, COUNTED, _named(renewed))))
    return [crash.id for crash in crashes if crash.id not in counted]


def locked_by_others(
    connection: BaseDatabaseWrapper, pairs: Sequence[Pair], lock_timeout_ms: int | None = None
) -> set[int]:
    """Return the ids of the rows that are ours and that other transactions lock now, without waiting."""
    named = _named(pairs)
    return set(_ids(fetch_all(connection, _limited(LOCKED, lock_timeout_ms), (*named, *named))))


@cache
def _limited(sql: str, lock_timeout_ms: int | None, schema: str = "") -> str:
    if lock_timeout_ms is not None:
        sql = f"SET LOCAL lock_timeout = {lock_timeout_ms:d}; {sql}"
    return qualified(sql, schema, has_parameters=True) if schema else sql


def _lost(
    connection: BaseDatabaseWrapper, items: Sequence[Item], settled: list[int], again: bool
) -> list[int]:
    """Return the ids that were not settled because somebody else holds, or held, the claim."""
    if len(settled) == len(items):
        return []
    missing = {item[0] for item in items}.difference(settled)
    if again:
        missing.intersection_update(_ids(fetch_all(connection, TAKEN_OVER, _named(items))))
    return sorted(missing)


def _id_arrays(items: Sequence[Item]) -> tuple[str, str, str]:
    """Return the tokens, the ids, and the position of each id's token, as array literals."""
    ids, tokens, *_ = zip(*items, strict=True)
    places = {token: str(place) for place, token in enumerate(dict.fromkeys(tokens), 1)}
    return array_of(places), array_of(ids), array_of([places[token] for token in tokens])


def _named(items: Sequence[Item]) -> tuple[object, ...]:
    """Return what names the rows in a statement: the arrays of ``_id_arrays``, and the bounds of the ids."""
    return *_id_arrays(items), *_id_bounds(items)


def _id_bounds(items: Sequence[Item]) -> tuple[int, int]:
    """Return the least and the greatest id."""
    ids = list(map(_id, items))
    return min(ids), max(ids)


def _kept_arrays(runs: Sequence[Kept]) -> tuple[object, ...]:
    """Return the present time, and arrays: those of ``_id_arrays``, the starts, the workers, the results."""
    _, _, started, workers, results = zip(*runs, strict=True)
    now = microseconds(monotonic())
    returned = array_of(map(element, results)) if any(results) else None  # mostly there are none
    return now, *_id_arrays(runs), array_of(started), array_of(map(_worker, workers)), returned


def _ages(moments: Iterable[float | None]) -> list[float | None]:
    """Return how many seconds ago each monotonic moment was, on this host."""
    now = monotonic()
    return [None if moment is None else now - moment for moment in moments]


_worker: Final = cache(element)
"""There are few names of workers."""


def _ids(rows: list[tuple[Any, ...]]) -> list[int]:
    return [row[0] for row in rows]
