"""What a run leaves in its row, or a claim that no run follows.

The items of one statement are of one kind, and name their tasks by id and claim token.
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
"""A completed run whose row is kept: id, token, its start in monotonic microseconds, its worker, and what it
returned, as JSON text."""


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
