"""Cancel tasks: fail those that are waiting, and request the end of those that a manager holds."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.outcomes import FAILED, REASON_CANCELLED
from django_partisan.sql.connection import execute, fetch_all
from django_partisan.sql.history import appended, history_entry
from django_partisan.sql.tokens import NO_CLAIM

# With the token NO_CLAIM, no claim that PostgreSQL forgot is restored if the task is requeued.
_CANCELLED: Final = f"""
    UPDATE django_partisan_task AS task
       SET status = 'error', ready = false, held = NULL, unregistered_since = NULL, claim_token = {NO_CLAIM},
           finished_at = statement_timestamp(), updated_at = now(), error_reason = '{REASON_CANCELLED}',
           error_type = %(type)s, error_message = %(message)s, error_traceback = '',
           history = {appended("task.history", "%(entry)s::jsonb", "NULL::int", "NULL::timestamptz")}
      FROM waiting WHERE task.id = waiting.id
    RETURNING task.id, task.queue_name, task.processor_class
"""

# A row that others lock is being claimed or changed. Every task that waits or runs in the snapshot and is not
# ended here gets a request, so no task is missed, however its row changes at the same time. The rows of
# running tasks are not locked, so that settling them does not wait for the caller's transaction.
_CANCEL: Final = f"""
    WITH waiting AS MATERIALIZED (
        SELECT id FROM django_partisan_task
         WHERE id = ANY(%(ids)s::bigint[]) AND status = 'new' ORDER BY id FOR UPDATE SKIP LOCKED
    ), cancelled AS ({_CANCELLED}), unended AS (
        SELECT id, queue_name, processor_class FROM django_partisan_task
         WHERE id = ANY(%(ids)s::bigint[]) AND status IN ('new', 'in_process')
           AND NOT id IN (SELECT id FROM waiting)
    ), requested AS (
        INSERT INTO django_partisan_cancel_request (task_id, comment, requested_at)
        SELECT id, %(comment)s, now() FROM unended ORDER BY id
            ON CONFLICT (task_id) DO NOTHING
    ), answered AS (
        DELETE FROM django_partisan_cancel_request WHERE task_id IN (SELECT id FROM cancelled)
    )
    SELECT *, false FROM cancelled UNION ALL SELECT *, true FROM unended ORDER BY id
"""

# The request is locked, too: a requeue, which deletes it, may have made the task wait after the snapshot.
_END_WAITING: Final = f"""
    WITH waiting AS MATERIALIZED (
        SELECT task.id
          FROM django_partisan_cancel_request AS request
          JOIN django_partisan_task AS task ON task.id = request.task_id
         WHERE request.task_id = ANY(%(ids)s::bigint[]) AND request.comment = %(comment)s
           AND task.id = ANY(%(ids)s::bigint[]) AND task.status = 'new'
         ORDER BY task.id FOR UPDATE SKIP LOCKED
    ), cancelled AS ({_CANCELLED}), answered AS (
        DELETE FROM django_partisan_cancel_request WHERE task_id IN (SELECT id FROM cancelled)
    )
    SELECT *, false FROM cancelled ORDER BY id
"""

# The status is compared with a column, so that no plan scans all rows of one status.
_REQUESTS: Final = """
    SELECT task_id, comment, %(queue)s::text AS queue_name, 'new' AS waits, 'in_process' AS runs,
           ARRAY['error', 'finished'] AS ends
      FROM django_partisan_cancel_request
"""
_FIND: Final = f"""
    WITH request AS MATERIALIZED ({_REQUESTS})
    SELECT task.id, request.comment, task.status = request.waits,
           CASE WHEN task.status = request.runs AND task.claimed_by = %(manager)s THEN task.claim_token END
      FROM request JOIN django_partisan_task AS task ON task.id = request.task_id
     WHERE task.queue_name = request.queue_name AND task.status IN (request.waits, request.runs)
     ORDER BY task.claimed_by IS NOT DISTINCT FROM %(manager)s DESC, task.id LIMIT %(limit)s
"""

# A requeue deletes the request of its task, too; this statement does not wait for it.
_CLEAN_UP: Final = f"""
    WITH request AS MATERIALIZED ({_REQUESTS}), stale AS MATERIALIZED (
        SELECT task_id FROM django_partisan_cancel_request
         WHERE task_id IN (
            SELECT request.task_id
              FROM request LEFT JOIN django_partisan_task AS task ON task.id = request.task_id
             WHERE task.id IS NULL OR task.status = ANY(request.ends)
         ) FOR UPDATE SKIP LOCKED
    )
    DELETE FROM django_partisan_cancel_request WHERE task_id IN (SELECT task_id FROM stale)
"""


class Cancellation(NamedTuple):
    """The error and the comment that are stored in the row of a cancelled task."""

    error_type: str
    error_message: str
    comment: str

    @property
    def entry(self) -> str:
        """The history entry of a task that is cancelled without a run."""
        return history_entry(
            FAILED,
            reason=REASON_CANCELLED,
            error_type=self.error_type,
            error_message=self.error_message,
        )

    @property
    def reason(self) -> str:
        """The reason and the comment, to be merged into the history entry of a run that is not repeated."""
        return history_entry(FAILED, reason=REASON_CANCELLED, comment=self.comment)

    def parameters(self, ids: Sequence[int]) -> dict[str, Any]:
        """Return the parameters of the statements for some tasks."""
        return {
            "ids": list(ids),
            "comment": self.comment,
            "type": self.error_type,
            "message": self.error_message,
            "entry": self.entry,
        }


class CancelledTask(NamedTuple):
    """A task that was cancelled, or for which a request was inserted."""

    id: int
    queue: str
    processor: str
    is_requested: bool


class Request(NamedTuple):
    """A request to cancel a task."""

    task_id: int
    comment: str
    is_waiting: bool
    """Whether the task is waiting; if not, a manager holds it."""
    token: int | None
    """The token of the claim under which this manager holds the task, if it does."""


def cancel(
    connection: BaseDatabaseWrapper, ids: Sequence[int], cancelling: Cancellation
) -> list[CancelledTask]:
    """Cancel the waiting tasks among ``ids``, and insert a request for each one that a manager holds.

    Tasks whose rows other transactions lock get a request, too. Waits for the end of another transaction that
    has inserted or deleted a request for one of the tasks.
    """
    rows = fetch_all(connection, _CANCEL, cancelling.parameters(ids))
    return [CancelledTask(*row) for row in rows]


def end_waiting(
    connection: BaseDatabaseWrapper, ids: Sequence[int], cancelling: Cancellation
) -> list[CancelledTask]:
    """Cancel the waiting tasks among ``ids`` that have a request with this comment; skip locked rows."""
    rows = fetch_all(connection, _END_WAITING, cancelling.parameters(ids))
    return [CancelledTask(*row) for row in rows]


def find_requests(connection: BaseDatabaseWrapper, queue: str, manager: UUID, limit: int) -> list[Request]:
    """Return up to ``limit`` requests for tasks of a queue, those for tasks of ``manager`` first."""
    parameters = {"queue": queue, "manager": manager, "limit": limit}
    return [Request(*row) for row in fetch_all(connection, _FIND, parameters)]


def delete_stale_requests(connection: BaseDatabaseWrapper) -> None:
    """Delete the requests for tasks that have ended or no longer exist, in all queues."""
    execute(connection, _CLEAN_UP, {"queue": ""})
