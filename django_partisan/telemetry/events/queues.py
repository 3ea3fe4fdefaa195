"""Events about many tasks of a queue at once: claimed, settled, released, held, pruned."""

from typing import NamedTuple

from django_partisan.telemetry.events.values import ErrorInfo


class TasksEnqueued(NamedTuple):
    """One ``bulk_delay()``; ``queue`` and ``processor`` are ``None`` if its tasks have different ones."""

    queue: str | None
    processor: str | None
    number: int
    deduplicated: int


class TasksClaimed(NamedTuple):
    """A claim returned ``number`` tasks, possibly 0; lists at most 100 ids.

    ``contexts`` are the carried contexts, as JSON text, of the tasks that have one.
    """

    queue: str
    number: int
    task_ids: tuple[int, ...]
    seconds: float
    contexts: tuple[str, ...]


class PollFoundNothing(NamedTuple):
    """A poll of an idle manager found nothing to claim: it counts as empty, like a claim without rows."""

    queue: str


class ClaimFailed(NamedTuple):
    """Claims started to fail, or to wait for a database that does not answer; emitted once, not per claim."""

    queue: str
    error: ErrorInfo


class ClaimErrored(NamedTuple):
    """A claim failed, or a poll or heartbeat that claims wait for; emitted for each."""

    queue: str


class TasksReleased(NamedTuple):
    queue: str
    number: int
    reason: str


class OutcomesSettled(NamedTuple):
    """A batch of outcomes was written; ``contexts`` as in ``TasksClaimed``, for the completed tasks."""

    queue: str
    number: int
    seconds: float
    contexts: tuple[str, ...]
    task_ids: tuple[int, ...] = ()


class SettleFailed(NamedTuple):
    """Outcomes cannot be written; emitted once, not for each attempt."""

    queue: str
    number: int
    error: ErrorInfo


class SettleErrored(NamedTuple):
    """A settle statement failed; emitted for each."""

    queue: str


class TasksHeld(NamedTuple):
    """``number`` tasks of a processor were held since the last such event; ``reason`` is the reason."""

    queue: str
    processor: str
    number: int
    reason: str


class TasksResumed(NamedTuple):
    """``number`` tasks of a processor, held for ``reason`` until now, were resumed."""

    queue: str
    processor: str
    number: int
    reason: str


class TasksPruned(NamedTuple):
    """``number`` rows of a queue and status were deleted in one batch, because their tasks ended long ago."""

    queue: str
    status: str
    number: int


class PrunePassEnded(NamedTuple):
    """A manager of ``queue`` has finished a prune pass, which covers all queues, or left it to others."""

    queue: str
    finished: int
    failed: int
    seconds: float


class PruneFailed(NamedTuple):
    """Rows cannot be pruned; emitted once, not for each attempt."""

    queue: str
    error: ErrorInfo
