"""Find held tasks, resume them, or fail them.

A task is held when its claim is settled with ``RowChange.hold()``: the column ``held`` contains the reason,
and claims and promotion skip the row. No statement in this module changes a row's counters.
"""

import json
from collections.abc import Collection, Iterable
from typing import Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.outcomes import FAILED, REASON_EXPIRED, REASON_UNREGISTERED
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.history import appended
from django_partisan.sql.manager_rows import IS_ALIVE
from django_partisan.sql.tokens import NO_CLAIM

# Each manager publishes in its row which processors it can run; when it drains, it can run none.
_PUBLISH = """
    UPDATE django_partisan_manager
       SET state = coalesce(state, '{}') || %s::jsonb
     WHERE id = %s
"""

_ALIVE = f"""
    SELECT FROM django_partisan_manager AS manager
     WHERE manager.queue_name = %(queue)s AND {IS_ALIVE}
"""

# Finds the processors of held rows one after the other, with one index descent for each.
_FIND_HELD = f"""
    WITH RECURSIVE found AS (
        (SELECT processor_class AS name FROM django_partisan_task
          WHERE queue_name = %(queue)s AND held = '{REASON_UNREGISTERED}' AND status = 'new'
          ORDER BY processor_class LIMIT 1)
         UNION ALL
        SELECT (SELECT processor_class FROM django_partisan_task
                 WHERE queue_name = %(queue)s AND held = '{REASON_UNREGISTERED}'
                   AND status = 'new' AND processor_class > found.name
                 ORDER BY processor_class LIMIT 1)
          FROM found WHERE found.name IS NOT NULL
    ), held AS (
        SELECT name FROM found WHERE name IS NOT NULL LIMIT %(limit)s
    )
    SELECT name, name IN (SELECT name FROM held),
           EXISTS ({_ALIVE} AND manager.id <> %(manager)s AND manager.state -> 'processors' ? name)
      FROM (SELECT name FROM held UNION SELECT unnest(%(unknown)s::text[])) AS names (name)
"""

# As after an insert, managers that sleep are notified, whichever manager resumed the tasks.
_RESUME = f"""
    WITH chosen AS MATERIALIZED (
        SELECT id FROM django_partisan_task
         WHERE queue_name = %(queue)s AND held = '{REASON_UNREGISTERED}' AND processor_class = %(processor)s
           AND status = 'new'
         ORDER BY priority, id LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ), resumed AS (
        UPDATE django_partisan_task AS task
           SET held = NULL, ready = task.execute_after <= statement_timestamp(), updated_at = now(),
               unregistered_since = CASE WHEN NOT %(is_known)s THEN task.unregistered_since END
          FROM chosen WHERE task.id = chosen.id
        RETURNING task.id
    )
    SELECT count(*),
           CASE WHEN EXISTS (SELECT FROM resumed)
                 AND EXISTS (SELECT FROM django_partisan_manager
                              WHERE queue_name = %(queue)s AND sleeping)
                THEN pg_notify('{CHANNEL}', %(queue)s) END
      FROM resumed
"""

# No run failed, so the entry has no attempt.
_APPENDED = appended(
    "task.history",
    f"""jsonb_build_object('outcome', '{FAILED}', 'reason', ending.reason,
                           'error_type', ending.error_type, 'error_message', ending.error_message)""",
    "NULL::int",
    "NULL::timestamptz",
)

_FAIL = f"""
    WITH due AS MATERIALIZED (
        SELECT id, processor_class,
               coalesce(expires_at <= now() AND attempts = 0 AND takeovers = 0, false) AS has_expired
          FROM django_partisan_task AS task
         WHERE queue_name = %(queue)s AND held = '{REASON_UNREGISTERED}'
           AND unregistered_since <= now() - %(seconds)s * interval '1 second' AND status = 'new'
           AND NOT EXISTS ({_ALIVE} AND manager.state -> 'processors' ? task.processor_class)
         ORDER BY unregistered_since LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    ), ending AS (
        SELECT id, has_expired,
               CASE WHEN has_expired THEN '{REASON_EXPIRED}' ELSE '{REASON_UNREGISTERED}' END AS reason,
               CASE WHEN has_expired THEN %(expired_type)s::text ELSE %(type)s::text END AS error_type,
               CASE WHEN has_expired THEN %(expired_message)s::text
                    ELSE format(%(message)s, processor_class) END AS error_message
          FROM due
    )
    UPDATE django_partisan_task AS task
       SET status = 'error', ready = false, held = NULL, unregistered_since = NULL, claim_token = {NO_CLAIM},
           finished_at = now(), updated_at = now(), error_reason = ending.reason,
           error_type = ending.error_type, error_message = ending.error_message,
           error_traceback = '', history = {_APPENDED}
      FROM ending WHERE task.id = ending.id
    RETURNING task.id, task.processor_class, task.priority, task.attempts, task.retries, task.postpones,
              task.context::text, ending.has_expired
"""

NAMES_AT_MOST: Final = 1000
"""How many processors of held rows ``find_held()`` returns at most."""


class HeldProcessor(NamedTuple):
    """A processor that has held tasks, or that this manager cannot run."""

    name: str
    is_held: bool
    """Whether it has held tasks."""
    is_known_elsewhere: bool
    """Whether another live manager of the queue can run it."""


class FailedTask(NamedTuple):
    """A task that failed without a run; ``has_expired`` is true if it had expired before that."""

    id: int
    processor: str
    priority: int
    attempts: int
    retries: int
    postpones: int
    context: str | None
    has_expired: bool = False


def publish(connection: BaseDatabaseWrapper, manager: UUID, processors: Iterable[str]) -> None:
    """Publish in a manager's row which processors it can run."""
    execute(connection, _PUBLISH, (json.dumps({"processors": sorted(processors)}), manager))


def publish_draining(connection: BaseDatabaseWrapper, manager: UUID) -> None:
    """Publish in a manager's row that it drains, and can no longer run any processor."""
    execute(connection, _PUBLISH, (json.dumps({"processors": [], "draining": True}), manager))


def find_held(
    connection: BaseDatabaseWrapper, queue: str, manager: UUID, unknown: Collection[str]
) -> list[HeldProcessor]:
    """Return the processors of held tasks, and the ``unknown`` ones, which this manager cannot run."""
    parameters = {"queue": queue, "manager": manager, "unknown": list(unknown), "limit": NAMES_AT_MOST}
    return [HeldProcessor(*row) for row in fetch_all(connection, _FIND_HELD, parameters)]


def resume(
    connection: BaseDatabaseWrapper, queue: str, processor: str, limit: int, is_known: bool = True
) -> int:
    """Resume up to ``limit`` held tasks of a processor; return how many.

    Unless ``is_known``, this is only an attempt, and ``unregistered_since`` is kept.
    """
    parameters = {"queue": queue, "processor": processor, "limit": limit, "is_known": is_known}
    return int(fetch_all(connection, _RESUME, parameters)[0][0])


def fail_expired(
    connection: BaseDatabaseWrapper,
    queue: str,
    seconds: float,
    limit: int,
    error: tuple[str, str],
    expired: tuple[str, str],
) -> list[FailedTask]:
    """Fail up to ``limit`` tasks that were held for ``seconds`` and whose processor no live manager can run.

    ``error`` and ``expired`` are pairs of an error's type and message; ``expired`` is for tasks that expired
    and never started. The message of ``error`` has a ``%s`` for the processor.
    """
    parameters = {"queue": queue, "seconds": seconds, "limit": limit, "type": error[0], "message": error[1]}
    parameters |= {"expired_type": expired[0], "expired_message": expired[1]}
    return [FailedTask(*row) for row in fetch_all(connection, _FAIL, parameters)]
