"""Events of what operators do: requeue, change and cancel tasks, pause queues."""

from typing import NamedTuple, TypeAlias


class TasksRequeued(NamedTuple):
    """``number`` failed tasks of a processor wait again, as somebody asked."""

    queue: str
    processor: str
    number: int


class TasksChanged(NamedTuple):
    """``number`` tasks of a processor were changed, as somebody asked; ``change`` is one of ``CHANGES``."""

    queue: str
    processor: str
    number: int
    change: str


class TasksCancelled(NamedTuple):
    """``number`` tasks of a processor ended without a run, as somebody asked; at most 100 ids are named."""

    queue: str
    processor: str
    number: int
    comment: str
    task_ids: tuple[int, ...]


class CancelRequested(NamedTuple):
    """Somebody asked to end ``number`` tasks of a processor that managers hold; at most 100 ids are named."""

    queue: str
    processor: str
    number: int
    comment: str
    task_ids: tuple[int, ...]


class QueuePaused(NamedTuple):
    """A manager has found its queue paused; ``until`` is of ISO 8601, ``None`` for no end."""

    queue: str
    until: str | None
    comment: str
    by: str


class QueueResumed(NamedTuple):
    """A manager has found its queue no longer paused, after ``seconds``."""

    queue: str
    seconds: float


OperatorEvent: TypeAlias = (
    TasksRequeued | TasksChanged | TasksCancelled | CancelRequested | QueuePaused | QueueResumed
)
