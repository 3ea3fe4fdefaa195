"""How a run ended: one value from which settling, reporting, telemetry and tests read."""

from typing import Final, NamedTuple

from django_partisan.outcomes import COMPLETED
from django_partisan.sql.settling import RowChange
from django_partisan.telemetry.events import ErrorInfo

CLAIM_LOST: Final = "claim_lost"
"""In place of an outcome: another manager has taken the task over, so nothing is settled or emitted."""


class RunResult(NamedTuple):
    """How a run ended; the defaults are those of a run that completed and is to be settled."""

    outcome: str = COMPLETED
    """``COMPLETED``, ``POSTPONED``, ``RETRIED`` or ``FAILED`` of ``outcomes``, or ``CLAIM_LOST``."""
    is_settled: bool = False
    """True if the completion was committed with the run (``ATOMIC``)."""
    change: RowChange | None = None
    """What to write to the row if the run did not complete."""
    reason: str = ""
    """Why the task failed: one of the ``REASON_*`` words."""
    delay_seconds: float = 0.0
    """How long a postponed or retried task waits before it runs again."""
    comment: str | None = None
    """The ``reason`` of ``PostponeTask``."""
    retries_left: int = 0
    error: ErrorInfo | None = None
    """The exception of a retried or failed run."""


RAN: Final = RunResult()
"""The result of every run that completed and is to be settled."""
