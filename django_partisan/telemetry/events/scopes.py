"""The scopes for which ``Subscriber.around()`` is entered: an enqueueing, a batch of ticks, a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from django_partisan.telemetry.events.values import Run


@dataclass(slots=True, eq=False)
class Enqueueing:
    """One call of ``delay()`` or ``bulk_delay()``; the core sets the attributes as they become known."""

    queue: str
    processor: str | None
    count: int = 1
    task_id: int | None = None
    task_ids: Sequence[int] = ()
    deduplicated: bool = False


@dataclass(slots=True, eq=False)
class Ticking:
    """A batch of ticks for which a manager enqueues tasks; ``number`` is set once it is known."""

    queue: str
    number: int = 0


class Running(NamedTuple):
    """One run, from before its start until its outcome has been emitted."""

    run: Run
    propagation: str | None
    """The processor's own ``TRACE_PROPAGATION``, if any."""


Scope: TypeAlias = Enqueueing | Ticking | Running
