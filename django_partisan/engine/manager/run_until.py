"""End a manager when nothing is left to do, with ``--once`` or ``--until-empty``."""

from collections.abc import Sequence
from enum import Enum

from django_partisan.engine.manager.component import Component
from django_partisan.engine.manager.drain import Drain
from django_partisan.engine.manager.promoter import Promoter
from django_partisan.engine.manager.queue_pause import QueuePause


class Until(Enum):
    """The condition under which a manager stops by itself."""

    IDLE = "no task is due"
    EMPTY = "no task waits, due or scheduled"


class RunUntil(Component):
    """The component that drains the manager once nothing is left to do.

    ``holders`` hold tasks, and ``finders`` look for them. The manager drains when the holders have nothing
    left and after that the finders find nothing. A run may enqueue or postpone a task after the promoter's
    last check began, so only a check that began after the last run counts. If the queue is paused, the
    manager waits only for running tasks; waiting tasks keep waiting.
    """

    def __init__(
        self,
        until: Until,
        drain: Drain,
        promoter: Promoter,
        pause: QueuePause,
        finders: Sequence[Component],
        holders: Sequence[Component],
    ) -> None:
        self._until = until
        self._drain = drain
        self._promoter = promoter
        self._pause = pause
        self._finders = finders
        self._holders = holders
        self._busy_at = 0.0

    def turn(self, now: float) -> None:
        """Ask to drain if there is nothing left to do."""
        if self._drain.is_on:
            return
        if not all(component.is_idle for component in self._holders):
            self._busy_at = now
        elif self._pause.is_on:
            if all(component.is_idle for component in self._finders if component is not self._promoter):
                self._drain.request()
        elif self._promoter.has_checked_since(self._busy_at):
            is_empty_enough = self._until is Until.IDLE or self._promoter.next_due_in is None
            if is_empty_enough and all(component.is_idle for component in self._finders):
                self._drain.request()
