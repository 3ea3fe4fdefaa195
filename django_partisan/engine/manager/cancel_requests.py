"""Keep the requests to cancel tasks that a manager holds, and end such tasks without another run."""

import json
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from django_partisan.cancelling import cancellation_for, emit
from django_partisan.outcomes import REASON_CANCELLED
from django_partisan.sql.cancelling import CancelledTask
from django_partisan.sql.claiming import ID, PROCESSOR, TOKEN, TaskRow
from django_partisan.sql.row_changes import STATUS_ERROR, RowChange

Pair: TypeAlias = tuple[int, int]
"""The id of a task and the token of the claim under which the manager holds it."""


class CancelRequests:
    """Known requests to cancel tasks, with their comments.

    Each applies to one claim of its task: a requeue deletes the request, and the task gets a new claim.
    """

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._comments: dict[Pair, str] = {}

    def __len__(self) -> int:
        return len(self._comments)

    def __contains__(self, row: TaskRow) -> bool:
        return (row[ID], row[TOKEN]) in self._comments

    @property
    def comments(self) -> Mapping[Pair, str]:
        """Comments of the requests, by task id and claim token."""
        return self._comments

    def replace(self, comments: dict[Pair, str]) -> None:
        """Replace all requests with those in the table."""
        self._comments = comments

    def drop(self, pair: Pair) -> None:
        """Remove a request whose task the manager no longer holds; do nothing if it was carried over."""
        self._comments.pop(pair, None)

    def carry_over(self, before: TaskRow, row: TaskRow) -> None:
        """Move the request for a task, if there is one, to the new token of its claim."""
        if before in self:
            self._comments[row[ID], row[TOKEN]] = self._comments.pop((before[ID], before[TOKEN]))

    def split(self, rows: Iterable[TaskRow]) -> tuple[list[TaskRow], list[TaskRow]]:
        """Return the tasks that may run, and those to cancel."""
        parts: tuple[list[TaskRow], list[TaskRow]] = ([], [])
        for row in rows:
            parts[row in self].append(row)
        return parts

    def end(self, row: TaskRow, change: RowChange | None = None) -> RowChange:
        """Emit ``TasksCancelled``, and return the change that ends a task instead of letting it run again.

        It replaces ``change``, the outcome of the task's last run; ``None`` if the task has not started.
        """
        comment = self._comments[row[ID], row[TOKEN]]
        cancelling = cancellation_for(comment)
        entry = cancelling.entry
        if change is None:
            change = RowChange(row[ID], row[TOKEN], STATUS_ERROR, attempts=0)
        elif change.entry is not None:  # keep the entry of the run, and add why no other follows
            entry = json.dumps({**json.loads(change.entry), **json.loads(cancelling.reason)})
        emit([CancelledTask(row[ID], self._queue, row[PROCESSOR], False)], comment)
        return change._replace(
            status=STATUS_ERROR,
            delay=0.0,
            reason=REASON_CANCELLED,
            error_type=cancelling.error_type,
            error_message=cancelling.error_message,
            error_traceback="",
            held=None,
            entry=entry,
        )
