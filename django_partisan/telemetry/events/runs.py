"""Events of one run: its start, its outcome, its measurements, and transactions that it left open."""

from typing import Final, NamedTuple

from django_partisan.outcomes import COMPLETED, FAILED, POSTPONED, RETRIED
from django_partisan.telemetry.events.values import ErrorInfo, LostRun, Run, TaskRef


class TaskStarted(NamedTuple):
    run: Run


class TaskCompleted(NamedTuple):
    run: Run
    seconds: float


class RunsCompleted(NamedTuple):
    """Runs of one processor completed; emitted once per report, for subscribers that only count.

    A run is in one ``RunsCompleted`` and, if a subscriber wants it, in one ``TaskCompleted``.
    """

    queue: str
    processor: str
    seconds: list[float]
    waits_seconds: list[float]
    attempts: list[int]


class TaskPostponed(NamedTuple):
    run: Run
    seconds: float
    delay_seconds: float
    reason: str | None


class TaskRetried(NamedTuple):
    """If a manager that killed the worker emits it, ``run`` is a ``TaskRef`` and ``lost`` is the run."""

    run: Run | TaskRef
    seconds: float
    delay_seconds: float
    retries_left: int
    error: ErrorInfo
    lost: LostRun | None = None


class TaskFailed(NamedTuple):
    """A task failed; ``reason`` is one of ``outcomes.FAILURE_REASONS`` or ``outcomes.REASONS_TO_NAME``.

    ``seconds`` is ``None`` if no run ended.

    If a manager emits it, ``run`` is a ``TaskRef``; ``lost`` is the run with which the task failed, if any.
    """

    run: Run | TaskRef
    seconds: float | None
    reason: str
    error: ErrorInfo
    lost: LostRun | None = None


class TaskCancelled(NamedTuple):
    """A run ended because its task was cancelled; ``lost`` is the run if it ended with its worker.

    If a manager emits it, ``run`` is a ``TaskRef``.
    """

    run: Run | TaskRef
    seconds: float | None
    error: ErrorInfo
    lost: LostRun | None = None


class TransactionLeftOpen(NamedTuple):
    """A run left a transaction open on ``database``, an alias; it was rolled back.

    If ``thread`` names another thread, the transaction is still open there.
    """

    run: Run
    database: str
    thread: str | None = None


class WrittenOutsideAtomic(NamedTuple):
    """During an ``ATOMIC`` run, another thread wrote to the tasks' database over its own connection."""

    run: Run
    thread: str


class MetricRecorded(NamedTuple):
    """A run added ``value`` to a counter or histogram of its processor; ``name`` is the exported name."""

    queue: str
    processor: str
    name: str
    labels: tuple[str, ...]
    value: float


OUTCOME_OF: Final[dict[type, str]] = {
    TaskCompleted: COMPLETED,
    TaskPostponed: POSTPONED,
    TaskRetried: RETRIED,
    TaskFailed: FAILED,
    TaskCancelled: FAILED,
}
"""The outcome that each event at the end of a run represents."""
