"""Events of what managers do with many tasks of a queue at once: claim, settle, release, hold, prune."""

from typing import NamedTuple, TypeAlias

from django_partisan.telemetry.events.values import ErrorInfo


class TasksEnqueued(NamedTuple):
    """One ``bulk_delay()``; ``queue`` and ``processor`` are ``None`` if its tasks have several."""

    queue: str | None
    processor: str | None
    number: int
    deduplicated: int


class TasksClaimed(NamedTuple):
    """A claim returned ``number`` tasks, perhaps 0. At most 100 ids are named.

    ``contexts`` are the carried contexts, as JSON text, of those of its tasks that have one.
    """

    queue: str
    number: int
    task_ids: tuple[int, ...]
    seconds: float
    contexts: tuple[str, ...]


class PolledInVain(NamedTuple):
    """A look of an idle manager found nothing to claim: an empty poll, like a claim without rows."""

    queue: str


class ClaimFailed(NamedTuple):
    """Claims began to fail or to wait for a database that does not answer; emitted once, not for each."""

    queue: str
    error: ErrorInfo


class ClaimErrored(NamedTuple):
    """A claim failed, or a look or heartbeat that claims wait for; emitted for each."""

    queue: str


class TasksReleased(NamedTuple):
    queue: str
    number: int
    reason: str


class OutcomesSettled(NamedTuple):
    """A batch was written; ``contexts`` as in ``TasksClaimed``, of the completed tasks."""

    queue: str
    number: int
    seconds: float
    contexts: tuple[str, ...]
    task_ids: tuple[int, ...] = ()


class SettleFailed(NamedTuple):
    """Outcomes cannot be written; emitted once, not for each try."""

    queue: str
    number: int
    error: ErrorInfo


class SettleErrored(NamedTuple):
    """A settle statement failed; emitted for each."""

    queue: str


class TasksHeld(NamedTuple):
    """``number`` tasks of a processor were held since the last such event; ``reason`` says why."""

    queue: str
    processor: str
    number: int
    reason: str


class TasksResumed(NamedTuple):
    """``number`` tasks of a processor that were held for ``reason`` wait for a claim again."""

    queue: str
    processor: str
    number: int
    reason: str


class TasksPruned(NamedTuple):
    """A batch of ``number`` rows of a queue and status was deleted, because their tasks ended long ago."""

    queue: str
    status: str
    number: int


class PrunePassEnded(NamedTuple):
    """A manager of ``queue`` has walked the table for rows to prune, of all queues, or left it to others."""

    queue: str
    finished: int
    failed: int
    seconds: float


class PruneFailed(NamedTuple):
    """Rows cannot be pruned; emitted once, not for each try."""

    queue: str
    error: ErrorInfo


QueueEvent: TypeAlias = (
    TasksEnqueued
    | TasksClaimed
    | PolledInVain
    | ClaimFailed
    | ClaimErrored
    | TasksReleased
    | OutcomesSettled
    | SettleFailed
    | SettleErrored
    | TasksHeld
    | TasksResumed
    | TasksPruned
    | PrunePassEnded
    | PruneFailed
)
