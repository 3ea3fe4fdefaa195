"""Requests to cancel tasks that a manager holds; end such a task without a run."""

import json
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from django_partisan.cancelling import cancelling_for, emit
from django_partisan.outcomes import REASON_CANCELLED
from django_partisan.sql.cancelling import CancelledTask
from django_partisan.sql.claiming import ID, PROCESSOR, TOKEN, TaskRow
from django_partisan.sql.row_changes import STATUS_ERROR, RowChange

Pair: TypeAlias = tuple[int, int]
"""The id of a task and the token of the claim under which the manager holds it."""


class CancelRequests:
    """The requests that are known, with their comments.

    They apply to claims: after a requeue, which deletes the request, the task has another claim.
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
        """The comments of the requests."""
        return self._comments

    def replace(self, comments: dict[Pair, str]) -> None:
        """Replace the requests by those in the table."""
        self._comments = comments

    def drop(self, pair: Pair) -> None:
        """Forget a request, because the manager does not hold the task any more; it may be carried over."""
        self._comments.pop(pair, None)

    def carry_over(self, before: TaskRow, row: TaskRow) -> None:
        """Have the request for a task apply under the new token of its claim."""
        if before in self:
            self._comments[row[ID], row[TOKEN]] = self._comments.pop((before[ID], before[TOKEN]))

    def sift(self, rows: Iterable[TaskRow]) -> tuple[list[TaskRow], list[TaskRow]]:
        """Return the tasks that may run, and those to be ended."""
        parts: tuple[list[TaskRow], list[TaskRow]] = ([], [])
        for row in rows:
            parts[row in self].append(row)
        return parts

    def end(self, row: TaskRow, change: RowChange | None = None) -> RowChange:
        """Return the change that ends a task instead of ``change``, after which it would run again; emit it.

        Without ``change`` the task has not started.
        """
        comment = self._comments[row[ID], row[TOKEN]]
        cancelling = cancelling_for(comment)
        entry = cancelling.entry
        if change is None:
            change = RowChange(row[ID], row[TOKEN], STATUS_ERROR, attempts=0)
        elif change.entry is not None:  # that of the run stays, and says why no other follows
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
