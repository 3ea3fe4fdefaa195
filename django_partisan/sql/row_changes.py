"""The changes that are written to a task's row when a run or a claim ends.

All items of one statement are of the same kind, and identify their tasks by id and claim token.
"""

from typing import Final, NamedTuple, TypeAlias

from django_partisan.outcomes import COMPLETED, CRASHED
from django_partisan.sql.history import UNKNOWN_RUN, EndedRun, history_entry

STATUS_NEW: Final = "new"
STATUS_ERROR: Final = "error"
STATUS_FINISHED: Final = "finished"

Pair: TypeAlias = tuple[int, int]
"""The id of a task and the token of the claim that its outcome ends."""

Kept: TypeAlias = tuple[int, int, int, str, str | None]
"""A completed run whose row is kept: id, token, the start in monotonic microseconds, the worker, and the
returned value as JSON text."""


class RowChange(NamedTuple):
    """The change of a row whose run did not complete, or completed after others that did not.

    ``status`` is the new status: ``new`` (due after ``delay`` seconds), ``error`` or ``finished``. The
    numbers are added to the row's counters.
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
    """The reason why the task is held, if it is; it then waits as before its claim."""

    entry: str | None = None
    """The history entry of the run; ``None`` if nothing ran."""
    result: str | None = None
    """The value that the run returned, as JSON text."""
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
        """Return this change with the history entry of the run that it ends."""
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
    """The death of a worker during the run of a task, which runs again under ``new_token``.

    ``entry`` and ``started`` mean the same as in ``RowChange``.
    """

    id: int
    token: int
    new_token: int
    entry: str = history_entry(CRASHED)
    started: float | None = None


class StoppedRun(NamedTuple):
    """A task that is released although it started, because its run was stopped; it can no longer expire."""

    id: int
    token: int


Item: TypeAlias = Pair | Kept | RowChange | Crash | StoppedRun
"""The change of one row; its first two values are the id and the claim token."""


def microseconds(moment: float) -> int:
    """Convert a moment in seconds to the integer in ``Kept``; integers cost less to write."""
    return int(moment * 1e6)
