"""End tasks that have expired by the time the manager takes them in.

A task that expires later is ended by the worker that would run it: see ``Executor``.
"""

from functools import partial

from django_partisan.engine.expiring import expire, has_expired, may_expire
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.task_ref import task_ref
from django_partisan.sql.claiming import TaskRow
from django_partisan.sql.row_changes import RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.tasks import TaskExpired


class Expirations:
    """Settles expired tasks of a queue without a run."""

    def __init__(self, queue: str, settler: Settler) -> None:
        self._queue = queue
        self._settler = settler

    def end_expired(self, rows: list[TaskRow]) -> list[TaskRow]:
        """End the tasks that have expired; return the others."""
        if not may_expire(rows):
            return rows
        others = []
        for row in rows:
            if has_expired(row):
                self.settle(row, expire(row))
            else:
                others.append(row)
        return others

    def settle(self, row: TaskRow, change: RowChange) -> None:
        """Settle an expired task; emit ``TaskExpired`` when its row is written.

        If another manager has taken the task, no event is emitted.
        """
        self._settler.settle(row, change, written=partial(self._emit, row))

    def _emit(self, row: TaskRow) -> None:
        bus.emit(TaskExpired, task_ref(row, self._queue))
