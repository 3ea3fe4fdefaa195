"""Events of operators' actions: requeue, change and cancel tasks, pause queues."""

from typing import NamedTuple


class TasksRequeued(NamedTuple):
    """``number`` failed tasks of a processor were requeued on request."""

    queue: str
    processor: str
    number: int


class TasksChanged(NamedTuple):
    """``number`` tasks of a processor were changed on request; ``change`` is one of ``CHANGES``."""

    queue: str
    processor: str
    number: int
    change: str


class TasksCancelled(NamedTuple):
    """``number`` tasks of a processor were cancelled on request without a run; lists at most 100 ids."""

    queue: str
    processor: str
    number: int
    comment: str
    task_ids: tuple[int, ...]


class CancelRequested(NamedTuple):
    """Cancellation of ``number`` claimed tasks of a processor was requested; lists at most 100 ids."""

    queue: str
    processor: str
    number: int
    comment: str
    task_ids: tuple[int, ...]


class QueuePaused(NamedTuple):
    """A manager has found its queue paused; ``until`` is ISO 8601 text, or ``None`` if there is no end."""

    queue: str
    until: str | None
    comment: str
    by: str


class QueueResumed(NamedTuple):
    """A manager has found its queue resumed, after a pause of ``seconds``."""

    queue: str
    seconds: float
