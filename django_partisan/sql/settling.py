"""Write what came of many runs in one statement, each under the claim that it ends.

With ``lock_timeout_ms`` the wait for other transactions' locks ends after that time, with an error of
``ErrorKind.LOCKED``. The limit goes in the statement's own message and ends with its transaction.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, Final, NamedTuple, TypeAlias

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.outcomes import REASON_UNREGISTERED
from django_partisan.sql.connection import fetch_all
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.schema import qualified

Pair: TypeAlias = tuple[int, int]
"""The id of a task and the token of the claim that its outcome ends."""

STATUS_NEW: Final = "new"
STATUS_ERROR: Final = "error"


class RowChange(NamedTuple):
    """What is written to a row when its run did not complete.

    ``status`` is what it becomes: ``new`` (after ``delay`` seconds) or ``error``. The numbers are added
    to the row's counters.
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

    @classmethod
    def hold(cls, task_id: int, token: int, reason: str) -> "RowChange":
        """Return the change that holds a task that did not run."""
        return cls(task_id, token, STATUS_NEW, attempts=0, held=reason)


class Crash(NamedTuple):
    """The death of a worker in the run of a task that is to run again, under a token of its own."""

    id: int
    token: int
    new_token: int


# A row carries a claim's token only while it is in process under that claim, so an outcome of a claim
# that was lost is never written. The status is not asked for: it would invite a plan that walks over
# all rows in process to find a few.
_IS_OURS = "task.id = outcome.id AND task.claim_token = outcome.token"
# Many rows share few tokens: each row has the position of its token in a list that is sent once.
_PAIRS = (
    "(SELECT id, (%s::bigint[])[place] AS token FROM unnest(%s::bigint[], %s::int[]) AS o (id, place))"
    " AS outcome"
)

_FINISH = f"""
    UPDATE django_partisan_task AS task
       SET status = 'finished', claim_token = NULL, attempts = task.attempts + 1,
           finished_at = now(), updated_at = now()
      FROM {_PAIRS} WHERE {_IS_OURS}
    RETURNING task.id
"""
_DELETE = f"DELETE FROM django_partisan_task AS task USING {_PAIRS} WHERE {_IS_OURS} RETURNING task.id"

# After an answer that was lost: rows without a token, or deleted, were settled by the first try.
_TAKEN_OVER = f"""
    SELECT task.id FROM django_partisan_task AS task, {_PAIRS}
     WHERE task.id = outcome.id AND task.claim_token <> outcome.token
"""

_APPLY = f"""
    WITH outcome AS (
        SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::float8[],
                             %s::int[], %s::int[], %s::int[], %s::int[],
                             %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
          AS o (id, token, status, delay, attempts, postpones, retries, crashes,
                reason, error_type, error_message, error_traceback, context, held)
    )
    UPDATE django_partisan_task AS task
       SET status = outcome.status,
           claim_token = NULL,
           ready = outcome.status = 'new' AND outcome.delay <= 0 AND outcome.held IS NULL,
           execute_after = CASE WHEN outcome.status = 'new' AND outcome.held IS NULL
                                THEN now() + outcome.delay * interval '1 second'
                                ELSE task.execute_after END,
           held = outcome.held,
           unregistered_since = CASE outcome.held WHEN '{REASON_UNREGISTERED}'
                                                  THEN coalesce(task.unregistered_since, now()) END,
           attempts = task.attempts + outcome.attempts,
           postpones = task.postpones + outcome.postpones,
           retries = task.retries + outcome.retries,
           crashes = task.crashes + outcome.crashes,
           takeovers = CASE WHEN outcome.attempts > outcome.crashes THEN 0 ELSE task.takeovers END,
           finished_at = CASE outcome.status WHEN 'error' THEN now() END,
           error_reason = coalesce(outcome.reason, task.error_reason),
           error_type = coalesce(outcome.error_type, task.error_type),
           error_message = coalesce(outcome.error_message, task.error_message),
           error_traceback = coalesce(outcome.error_traceback, task.error_traceback),
           context = CASE WHEN outcome.context IS NULL THEN task.context
                          ELSE coalesce(task.context, '{{}}') || outcome.context::jsonb END,
           claimed_by = CASE outcome.status WHEN 'new' THEN NULL ELSE task.claimed_by END,
           unique_key = CASE WHEN %s THEN task.unique_key END,
           updated_at = now()
      FROM outcome WHERE {_IS_OURS}
    RETURNING task.id
"""

# As after an insert, a manager that sleeps is woken, whoever released the tasks.
_RELEASE = f"""
    WITH released AS (
        UPDATE django_partisan_task AS task
           SET status = 'new', ready = true, claim_token = NULL, claimed_by = NULL, updated_at = now(),
               unique_key = CASE WHEN %s THEN task.unique_key END
          FROM {_PAIRS} WHERE {_IS_OURS}
        RETURNING task.id, task.queue_name
    )
    SELECT id, CASE WHEN EXISTS (SELECT FROM django_partisan_manager AS manager
                                  WHERE manager.queue_name = released.queue_name AND manager.sleeping)
                    THEN pg_notify('{CHANNEL}', queue_name) END
      FROM released
"""

_COUNT_CRASHES = f"""
    UPDATE django_partisan_task AS task
       SET claim_token = outcome.new_token, attempts = task.attempts + 1, crashes = task.crashes + 1,
           claimed_at = now(), updated_at = now()
      FROM (SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS o (id, token, new_token))
        AS outcome WHERE {_IS_OURS}
    RETURNING task.id
"""
_COUNTED = f"SELECT task.id FROM django_partisan_task AS task, {_PAIRS} WHERE {_IS_OURS}"

# A row that is ours and cannot be locked at once is locked by another transaction.
_LOCKED = f"""
    WITH free AS (
        SELECT task.id FROM django_partisan_task AS task, {_PAIRS}
         WHERE {_IS_OURS} FOR UPDATE OF task SKIP LOCKED
    )
    SELECT task.id FROM django_partisan_task AS task, {_PAIRS} WHERE {_IS_OURS}
    EXCEPT SELECT id FROM free
"""


def settle_completed(
    connection: BaseDatabaseWrapper,
    pairs: Sequence[Pair],
    delete: bool,
    again: bool = False,
    lock_timeout_ms: int | None = None,
    schema: str = "",
) -> list[int]:
    """Finish or delete the rows of (id, token) ``pairs``; return the ids whose claim was lost.

    ``again`` says that the answer to a first try was lost. ``schema``, quoted for SQL, names the schema of
    the table if the caller may have changed ``search_path``.
    """
    sql = _limited(_DELETE if delete else _FINISH, lock_timeout_ms)
    if schema:
        sql = qualified(sql, schema, has_parameters=True)
    settled = _ids(fetch_all(connection, sql, _id_arrays(pairs)))
    return _lost(connection, pairs, settled, again)


def apply_changes(
    connection: BaseDatabaseWrapper,
    outcomes: Sequence[RowChange],
    keep_keys: bool = True,
    again: bool = False,
    lock_timeout_ms: int | None = None,
) -> list[int]:
    """Write outcomes; return the ids whose claim was lost.

    Raises ``IntegrityError`` if a row meets a duplicate, and waits for the end of a transaction that
    has inserted one; ``keep_keys=False`` makes the rows give up their keys.
    """
    columns = [list(column) for column in zip(*outcomes, strict=True)]
    sql = _limited(_APPLY, lock_timeout_ms)
    settled = _ids(fetch_all(connection, sql, (*columns, keep_keys)))
    return _lost(connection, [outcome[:2] for outcome in outcomes], settled, again)


def release(
    connection: BaseDatabaseWrapper,
    pairs: Sequence[Pair],
    keep_keys: bool = True,
    again: bool = False,
    lock_timeout_ms: int | None = None,
) -> list[int]:
    """Release tasks that were not started; return the ids whose claim was lost.

    Meets duplicates as ``apply_changes()`` does.
    """
    sql = _limited(_RELEASE, lock_timeout_ms)
    released = _ids(fetch_all(connection, sql, (keep_keys, *_id_arrays(pairs))))
    return _lost(connection, pairs, released, again)


def count_crashes(
    connection: BaseDatabaseWrapper, crashes: Sequence[Crash], lock_timeout_ms: int | None = None
) -> list[int]:
    """Count crashes and put the new tokens in place; return the ids of the rows that are not ours.

    Every other row carries its new token, also if the answer to a first try was lost.
    """
    ids, tokens, new_tokens = map(_literal, zip(*crashes, strict=True))
    sql = _limited(_COUNT_CRASHES, lock_timeout_ms)
    counted = set(_ids(fetch_all(connection, sql, (ids, tokens, new_tokens))))
    if len(counted) < len(crashes):  # a statement of its own sees what a first try committed meanwhile
        renewed = [(crash.id, crash.new_token) for crash in crashes]
        counted.update(_ids(fetch_all(connection, _COUNTED, _id_arrays(renewed))))
    return [crash.id for crash in crashes if crash.id not in counted]


def locked_by_others(
    connection: BaseDatabaseWrapper, pairs: Sequence[Pair], lock_timeout_ms: int | None = None
) -> set[int]:
    """Return the ids of the rows that are ours and that other transactions lock now, without waiting."""
    arrays = _id_arrays(pairs)
    return set(_ids(fetch_all(connection, _limited(_LOCKED, lock_timeout_ms), (*arrays, *arrays))))


@cache
def _limited(sql: str, lock_timeout_ms: int | None) -> str:
    return sql if lock_timeout_ms is None else f"SET LOCAL lock_timeout = {lock_timeout_ms:d}; {sql}"


def _lost(
    connection: BaseDatabaseWrapper, pairs: Sequence[Pair], settled: list[int], again: bool
) -> list[int]:
    """Return the ids that were not settled because somebody else holds, or held, the claim."""
    if len(settled) == len(pairs):
        return []
    missing = {task_id for task_id, _ in pairs}.difference(settled)
    if again:
        missing.intersection_update(_ids(fetch_all(connection, _TAKEN_OVER, _id_arrays(pairs))))
    return sorted(missing)


def _id_arrays(pairs: Sequence[Pair]) -> tuple[str, str, str]:
    """Return the tokens, the ids, and the position of each id's token, as array literals.

    Building them here is cheaper than letting the driver adapt lists of numbers.
    """
    ids, tokens = zip(*pairs, strict=True)
    places = {token: str(place) for place, token in enumerate(dict.fromkeys(tokens), 1)}
    return _literal(places), _literal(ids), "{" + ",".join([places[token] for token in tokens]) + "}"


def _literal(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def _ids(rows: list[tuple[Any, ...]]) -> list[int]:
    return [row[0] for row in rows]
