"""Settle many runs in one statement, each under the claim that it ends.

With ``lock_timeout_ms``, a statement waits only that long for other transactions' locks, and then raises an
error of ``ErrorKind.LOCKED``. The limit is sent in the statement's own message and ends with its transaction.
"""

from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from operator import itemgetter
from time import monotonic
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.array_literals import array_of, element
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.preparable import ROWS_AT_MOST, Preparable
from django_partisan.sql.row_changes import Crash, Item, Kept, Pair, RowChange, StoppedRun, microseconds
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
    Sized,
)

_id = itemgetter(0)


def delete_completed(
    connection: BaseDatabaseWrapper,
    pairs: Sequence[Pair],
    again: bool = False,
    lock_timeout_ms: int | None = None,
    schema: str = "",
) -> list[int]:
    """Delete the rows of completed runs; return the ids whose claim was lost.

    ``again`` means that the answer to a first attempt was lost. ``schema``, quoted for SQL, names the schema
    of the table if the caller may have changed ``search_path``.
    """
    sql, rows = _form_for(DELETE, pairs)
    parameters = (*_id_arrays(pairs), *rows)
    settled = _ids(fetch_all(connection, _limited(sql, lock_timeout_ms, schema), parameters))
    return _lost(connection, pairs, settled, again)


def finish_completed(
    connection: BaseDatabaseWrapper,
    runs: Sequence[Kept],
    again: bool = False,
    lock_timeout_ms: int | None = None,
    schema: str = "",
) -> list[int]:
    """Mark the rows of completed runs as finished; return the ids whose claim was lost.

    The options are those of ``delete_completed()``.
    """
    sql, rows = _form_for(FINISH, runs)
    parameters = (*_kept_arrays(runs), *rows)
    settled = _ids(fetch_all(connection, _limited(sql, lock_timeout_ms, schema), parameters))
    return _lost(connection, runs, settled, again)


def apply_changes(
    connection: BaseDatabaseWrapper,
    outcomes: Sequence[RowChange],
    keep_keys: bool = True,
    again: bool = False,
    lock_timeout_ms: int | None = None,
    schema: str = "",
) -> list[int]:
    """Write outcomes; return the ids whose claim was lost.

    Raises ``IntegrityError`` if a row that becomes ``new`` has a duplicate, and waits for the end of a
    transaction that has inserted one; with ``keep_keys=False``, the rows give up their unique keys. The
    other options are those of ``delete_completed()``.
    """
    *columns, started = (list(column) for column in zip(*outcomes, strict=True))
    sql, rows = _form_for(APPLY, outcomes)
    parameters = (*columns, _ages(started), keep_keys, *rows)
    settled = _ids(fetch_all(connection, _limited(sql, lock_timeout_ms, schema), parameters))
    return _lost(connection, outcomes, settled, again)


def release(
    connection: BaseDatabaseWrapper,
    tasks: Sequence[Pair | StoppedRun],
    keep_keys: bool = True,
    again: bool = False,
    lock_timeout_ms: int | None = None,
) -> list[int]:
    """Release tasks that were not started, or whose run was stopped; return the ids whose claim was lost.

    Duplicates have the same effect as in ``apply_changes()``.
    """
    sql = _limited(RELEASE, lock_timeout_ms)
    stopped = array_of(task.id for task in tasks if isinstance(task, StoppedRun))
    released = _ids(fetch_all(connection, sql, (keep_keys, stopped, *_named(tasks))))
    return _lost(connection, tasks, released, again)


def count_crashes(
    connection: BaseDatabaseWrapper, crashes: Sequence[Crash], lock_timeout_ms: int | None = None
) -> list[int]:
    """Count crashes and set the new tokens; return the ids whose claim was lost.

    Every other row has its new token, even if the answer to a first attempt was lost.
    """
    *numbers, entries, started = zip(*crashes, strict=True)
    ids, tokens, new_tokens = map(array_of, numbers)
    sql = _limited(COUNT_CRASHES, lock_timeout_ms)
    parameters = (ids, tokens, new_tokens, list(entries), _ages(started), *_id_bounds(crashes))
    counted = set(_ids(fetch_all(connection, sql, parameters)))
    if len(counted) < len(crashes):  # a separate statement sees what a first attempt has committed since
        renewed = [(crash.id, crash.new_token) for crash in crashes]
        counted.update(_ids(fetch_all(connection, COUNTED, _named(renewed))))
    return [crash.id for crash in crashes if crash.id not in counted]


def locked_by_others(
    connection: BaseDatabaseWrapper, pairs: Sequence[Pair], lock_timeout_ms: int | None = None
) -> set[int]:
    """Return the ids of the rows under these claims that other transactions lock now, without waiting."""
    named = _named(pairs)
    return set(_ids(fetch_all(connection, _limited(LOCKED, lock_timeout_ms), (*named, *named))))


def _form_for(statement: Sized, items: Sequence[Item]) -> tuple[str, tuple[object, ...]]:
    """Return the form of a statement for this number of rows, and the parameters that name the rows."""
    if len(items) <= ROWS_AT_MOST:
        return statement.few, (array_of(map(_id, items)),)
    return statement.many, _id_bounds(items)


@lru_cache(maxsize=None, typed=True)
def _limited(sql: str, lock_timeout_ms: int | None, schema: str = "") -> str:
    if lock_timeout_ms is not None:
        limit = f"SET LOCAL lock_timeout = {lock_timeout_ms:d}; "
        sql = sql.with_settings(limit) if isinstance(sql, Preparable) else limit + sql
    return qualified(sql, schema, has_parameters=True) if schema else sql


def _lost(
    connection: BaseDatabaseWrapper, items: Sequence[Item], settled: list[int], again: bool
) -> list[int]:
    """Return the ids that were not settled because their claim was lost."""
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
    """Return the parameters that identify rows: the arrays of ``_id_arrays``, and the bounds of the ids."""
    return *_id_arrays(items), *_id_bounds(items)


def _id_bounds(items: Sequence[Item]) -> tuple[int, int]:
    """Return the least and the greatest id."""
    ids = list(map(_id, items))
    return min(ids), max(ids)


def _kept_arrays(runs: Sequence[Kept]) -> tuple[object, ...]:
    """Return the current time, and arrays: those of ``_id_arrays``, the starts, the workers, the results."""
    _, _, started, workers, results = zip(*runs, strict=True)
    now = microseconds(monotonic())
    returned = array_of(map(element, results)) if any(results) else None  # usually there are none
    return now, *_id_arrays(runs), array_of(started), array_of(map(_worker, workers)), returned


def _ages(moments: Iterable[float | None]) -> list[float | None]:
    """Return how many seconds ago each monotonic moment was, on this host."""
    now = monotonic()
    return [None if moment is None else now - moment for moment in moments]


_worker: Final = cache(element)
"""Cached, because there are few names of workers."""


def _ids(rows: list[tuple[Any, ...]]) -> list[int]:
    return [row[0] for row in rows]
