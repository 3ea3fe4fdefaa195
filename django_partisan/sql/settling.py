"""Write what came of many runs in one statement, each under the claim that it ends."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import fetch_all
from django_partisan.sql.enqueueing import CHANNEL

STATUS_NEW: Final = "new"
STATUS_IN_PROCESS: Final = "in_process"
STATUS_ERROR: Final = "error"


class RowChange(NamedTuple):
    """What is written to a row when its run did not complete.

    ``status`` is what it becomes: ``new`` (after ``delay`` seconds), ``error``, or ``in_process`` if
    only counters change and the claim goes on. The numbers are added to the row's counters.
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


# A row carries a claim's token only while it is in process under that claim, so an outcome of a claim
# that was lost is never written. The status is not asked for: it would invite a plan that walks over
# all rows in process to find a few.
_IS_OURS = "task.id = outcome.id AND task.claim_token = outcome.token"
_PAIRS = "(SELECT * FROM unnest(%s::bigint[], %s::bigint[]) AS o (id, token)) AS outcome"

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
                             %s::text[], %s::text[], %s::text[], %s::text[], %s::text[])
          AS o (id, token, status, delay, attempts, postpones, retries, crashes,
                reason, error_type, error_message, error_traceback, context)
    )
    UPDATE django_partisan_task AS task
       SET status = outcome.status,
           claim_token = CASE outcome.status WHEN 'in_process' THEN task.claim_token END,
           ready = outcome.status = 'new' AND outcome.delay <= 0,
           execute_after = CASE outcome.status WHEN 'new' THEN now() + outcome.delay * interval '1 second'
                                               ELSE task.execute_after END,
           attempts = task.attempts + outcome.attempts,
           postpones = task.postpones + outcome.postpones,
           retries = task.retries + outcome.retries,
           crashes = task.crashes + outcome.crashes,
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


def settle_completed(
    connection: BaseDatabaseWrapper, pairs: Sequence[tuple[int, int]], delete: bool, again: bool = False
) -> list[int]:
    """Finish or delete the rows of (id, token) ``pairs``; return the ids whose claim was lost.

    ``again`` says that the answer to a first try was lost.
    """
    settled = _ids(fetch_all(connection, _DELETE if delete else _FINISH, _id_arrays(pairs)))
    return _lost(connection, pairs, settled, again)


def apply_changes(
    connection: BaseDatabaseWrapper,
    outcomes: Sequence[RowChange],
    keep_keys: bool = True,
    again: bool = False,
) -> list[int]:
    """Write outcomes, no id twice; return the ids whose claim was lost.

    Raises ``IntegrityError`` if a row meets a twin; ``keep_keys=False`` makes the rows give up theirs.
    """
    columns = [list(column) for column in zip(*outcomes, strict=True)]
    settled = _ids(fetch_all(connection, _APPLY, (*columns, keep_keys)))
    return _lost(connection, [(outcome.id, outcome.token) for outcome in outcomes], settled, again)


def release(
    connection: BaseDatabaseWrapper, pairs: Sequence[tuple[int, int]], keep_keys: bool = True
) -> list[int]:
    """Give tasks back that were not begun; return the ids of those that were still ours.

    Raises ``IntegrityError`` as ``apply_changes()``.
    """
    return _ids(fetch_all(connection, _RELEASE, (keep_keys, *_id_arrays(pairs))))


def _lost(
    connection: BaseDatabaseWrapper, pairs: Sequence[tuple[int, int]], settled: list[int], again: bool
) -> list[int]:
    """Return the ids that were not settled because somebody else holds, or held, the claim."""
    if len(settled) == len(pairs):
        return []
    missing = {task_id for task_id, _ in pairs}.difference(settled)
    if again:
        missing.intersection_update(_ids(fetch_all(connection, _TAKEN_OVER, _id_arrays(pairs))))
    return sorted(missing)


def _id_arrays(pairs: Sequence[tuple[int, int]]) -> tuple[str, str]:
    """Return two array literals; building them here is cheaper than adapting a list of numbers."""
    ids, tokens = zip(*pairs, strict=True)
    return _literal(ids), _literal(tokens)


def _literal(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def _ids(rows: list[tuple[Any, ...]]) -> list[int]:
    return [row[0] for row in rows]
