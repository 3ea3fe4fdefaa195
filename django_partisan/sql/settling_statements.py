"""The SQL statements of ``settling``."""

from typing import Final, NamedTuple

from django_partisan.outcomes import REASON_UNREGISTERED
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.history import appended
from django_partisan.sql.preparable import Preparable
from django_partisan.sql.tokens import NO_CLAIM

# Tasks that end together usually have ids that are close to each other. Without the bounds, the planner would
# scan all older rows instead of looking up a few thousand ids.
_ARE_BETWEEN: Final = "task.id BETWEEN %s AND %s"
# The bounds of a few ids may be far apart, and a prepared plan may read all rows between them.
_ARE_AMONG: Final = "task.id = ANY (%s::bigint[])"
_ARE_NAMED: Final = f"task.id = outcome.id AND {_ARE_BETWEEN}"
# A row carries a claim's token only while it is in process under that claim, so an outcome of a claim
# that was lost is never written. The status is not compared, because that would allow a plan that scans
# all rows in process to find a few.
_ARE_OURS: Final = f"task.id = outcome.id AND task.claim_token = outcome.token AND {_ARE_BETWEEN}"
# Many rows share few tokens: each row has the position of its token in a list that is sent once.
_TOKEN = "(%s::bigint[])[place] AS token"
_PAIRS = f"(SELECT id, {_TOKEN} FROM unnest(%s::bigint[], %s::int[]) AS o (id, place)) AS outcome"

_SECOND: Final = "interval '1 second'"
# Not the time of the transaction, which for an ATOMIC task began before the run.
_NOW: Final = "statement_timestamp()"
_STARTED_AT: Final = f"{_NOW} - outcome.age * {_SECOND}"


class Sized(NamedTuple):
    """A statement in the forms for few rows and for many; the last parameters are the ids or their bounds."""

    few: Preparable
    many: str


def _sized(name: str, many: str) -> Sized:
    return Sized(Preparable(name, many.replace(_ARE_BETWEEN, _ARE_AMONG)), many)


_FINISH: Final = f"""
    UPDATE django_partisan_task AS task
       SET status = 'finished', claim_token = NULL, attempts = task.attempts + 1,
           started_at = {_NOW} - (%s::bigint - outcome.started) * interval '1 microsecond',
           worker = outcome.worker, result = outcome.result::jsonb,
           finished_at = {_NOW}, updated_at = now()
      FROM (SELECT id, {_TOKEN}, started, worker, result
              FROM unnest(%s::bigint[], %s::int[], %s::bigint[], %s::text[], %s::text[])
                AS o (id, place, started, worker, result)) AS outcome WHERE {_ARE_OURS}
    RETURNING task.id
"""
_DELETE: Final = (
    f"DELETE FROM django_partisan_task AS task USING {_PAIRS} WHERE {_ARE_OURS} RETURNING task.id"
)
FINISH: Final = _sized("finish", _FINISH)
DELETE: Final = _sized("delete", _DELETE)

# After a lost answer: rows that are deleted or have no claim's token were settled by the first attempt. But a
# waiting row with the token NO_CLAIM was enqueued again since, and counts as taken over.
TAKEN_OVER: Final = f"""
    SELECT task.id FROM django_partisan_task AS task, {_PAIRS}
     WHERE {_ARE_NAMED} AND task.claim_token <> outcome.token
       AND (task.claim_token <> {NO_CLAIM} OR task.status = 'new')
"""

_APPENDED: Final = appended(
    "task.history", "outcome.entry::jsonb", "nullif(task.attempts + outcome.attempts, 0)", _STARTED_AT
)
_APPLY: Final = f"""
    WITH outcome AS (
        SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::float8[],
                             %s::int[], %s::int[], %s::int[], %s::int[],
                             %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
                             %s::text[], %s::text[], %s::float8[])
          AS o (id, token, status, delay, attempts, postpones, retries, crashes,
                reason, error_type, error_message, error_traceback, context, held, entry, result, age)
    )
    UPDATE django_partisan_task AS task
       SET status = outcome.status,
           claim_token = CASE WHEN outcome.status = 'error' AND outcome.attempts = 0 THEN {NO_CLAIM} END,
           ready = outcome.status = 'new' AND outcome.delay <= 0 AND outcome.held IS NULL,
           execute_after = CASE WHEN outcome.status = 'new' AND outcome.held IS NULL
                                THEN now() + outcome.delay * {_SECOND}
                                ELSE task.execute_after END,
           held = outcome.held,
           unregistered_since = CASE outcome.held WHEN '{REASON_UNREGISTERED}'
                                                  THEN coalesce(task.unregistered_since, now()) END,
           attempts = task.attempts + outcome.attempts,
           postpones = task.postpones + outcome.postpones,
           retries = task.retries + outcome.retries,
           crashes = task.crashes + outcome.crashes,
           takeovers = CASE WHEN outcome.attempts > outcome.crashes THEN 0 ELSE task.takeovers END,
           started_at = coalesce({_STARTED_AT}, task.started_at),
           worker = coalesce(outcome.entry::jsonb ->> 'worker', task.worker),
           history = CASE WHEN outcome.entry IS NULL THEN task.history ELSE {_APPENDED} END,
           result = outcome.result::jsonb,
           finished_at = CASE WHEN outcome.status <> 'new' THEN {_NOW} END,
           error_reason = coalesce(outcome.reason, task.error_reason),
           error_type = coalesce(outcome.error_type, task.error_type),
           error_message = coalesce(outcome.error_message, task.error_message),
           error_traceback = coalesce(outcome.error_traceback, task.error_traceback),
           context = CASE WHEN outcome.context IS NULL THEN task.context
                          ELSE coalesce(task.context, '{{}}') || outcome.context::jsonb END,
           claimed_by = CASE outcome.status WHEN 'new' THEN NULL ELSE task.claimed_by END,
           unique_key = CASE WHEN %s THEN task.unique_key END,
           updated_at = now()
      FROM outcome WHERE {_ARE_OURS}
    RETURNING task.id
"""
APPLY: Final = _sized("apply", _APPLY)

# As after an insert, managers that sleep are notified, whoever released the tasks. The caller names the tasks
# that have started: nothing else in their rows shows it, and only a task that never started expires.
RELEASE: Final = f"""
    WITH released AS (
        UPDATE django_partisan_task AS task
           SET status = 'new', ready = true, claim_token = NULL, claimed_by = NULL, updated_at = now(),
               unique_key = CASE WHEN %s THEN task.unique_key END,
               expires_at = CASE WHEN task.id = ANY (%s::bigint[]) THEN NULL ELSE task.expires_at END
          FROM {_PAIRS} WHERE {_ARE_OURS}
        RETURNING task.id, task.queue_name
    )
    SELECT id, CASE WHEN EXISTS (SELECT FROM django_partisan_manager AS manager
                                  WHERE manager.queue_name = released.queue_name AND manager.sleeping)
                    THEN pg_notify('{CHANNEL}', queue_name) END
      FROM released
"""

COUNT_CRASHES: Final = f"""
    UPDATE django_partisan_task AS task
       SET claim_token = outcome.new_token, attempts = task.attempts + 1, crashes = task.crashes + 1,
           started_at = coalesce({_STARTED_AT}, task.started_at),
           worker = coalesce(outcome.entry::jsonb ->> 'worker', task.worker),
           history = {appended("task.history", "outcome.entry::jsonb", "task.attempts + 1", _STARTED_AT)},
           claimed_at = now(), updated_at = now()
      FROM (SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::float8[])
              AS o (id, token, new_token, entry, age)) AS outcome WHERE {_ARE_OURS}
    RETURNING task.id
"""
COUNTED: Final = f"SELECT task.id FROM django_partisan_task AS task, {_PAIRS} WHERE {_ARE_OURS}"

# A row that is ours and cannot be locked at once is locked by another transaction.
LOCKED: Final = f"""
    WITH free AS (
        SELECT task.id FROM django_partisan_task AS task, {_PAIRS}
         WHERE {_ARE_OURS} FOR UPDATE OF task SKIP LOCKED
    )
    SELECT task.id FROM django_partisan_task AS task, {_PAIRS} WHERE {_ARE_OURS}
    EXCEPT SELECT id FROM free
"""
