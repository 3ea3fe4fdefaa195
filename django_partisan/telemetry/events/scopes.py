"""The scopes for which ``Subscriber.around()`` is entered: an enqueueing, a batch of ticks, a run."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from django_partisan.telemetry.events.values import Run


class Enqueueing:
    """One call of ``delay()`` or ``bulk_delay()``; the core sets the attributes as they become known."""

    __slots__ = ("count", "deduplicated", "processor", "queue", "task_id", "task_ids")

    def __init__(self, queue: str, processor: str | None, count: int = 1) -> None:
        self.queue = queue
        self.processor = processor
        self.count = count
        self.task_id: int | None = None
        self.task_ids: Sequence[int] = ()
        self.deduplicated = False


class Ticking:
    """A batch of ticks for which a manager enqueues tasks; ``number`` is set once it is known."""

    __slots__ = ("number", "queue")

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.number = 0


class Running(NamedTuple):
    """One run, from before its start until its outcome has been emitted."""

    run: Run
    propagation: str | None
    """The processor's own ``TRACE_PROPAGATION``, if any."""


Scope: TypeAlias = Enqueueing | Ticking | Running
