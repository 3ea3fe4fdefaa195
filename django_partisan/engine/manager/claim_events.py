"""Emit the event of a claim only after its tasks are dispatched, so that they do not wait for subscribers."""

from collections.abc import Sequence
from typing import Final

from django_partisan.engine.manager.component import Component
from django_partisan.sql.claiming import CONTEXT, ID, TaskRow
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import TasksClaimed

EMITTED_IDS: Final = 100


class ClaimEvents(Component):
    """The component that emits an event for the last claim; its turn comes after the dispatcher's."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._claimed: TasksClaimed | None = None

    def add(self, rows: Sequence[TaskRow], seconds: float) -> None:
        """Emit an event in the next turn for a claim that took ``seconds``, if a subscriber wants it."""
        if bus.wanted(TasksClaimed):
            contexts = tuple([row[CONTEXT] for row in rows if row[CONTEXT] is not None])
            ids = tuple([row[ID] for row in rows[:EMITTED_IDS]])
            self._claimed = TasksClaimed(self._queue, len(rows), ids, seconds, contexts)

    def turn(self, now: float) -> None:
        """Emit the event of the last claim, unless it was emitted."""
        claimed, self._claimed = self._claimed, None
        if claimed is not None:
            bus.emit(TasksClaimed, *claimed)
