"""End tasks that have expired when they are claimed or would be dispatched.

A task that expires on its way to a worker is ended there: see ``Executor``.
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
    """End expired tasks of a queue, without a run."""

    def __init__(self, queue: str, settler: Settler) -> None:
        self._queue = queue
        self._settler = settler

    def sift(self, rows: list[TaskRow]) -> list[TaskRow]:
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
        """Settle an expired task; emit it when it is written, as another manager may have taken it."""
        self._settler.settle(row, change, written=partial(self._emit, row))

    def _emit(self, row: TaskRow) -> None:
        bus.emit(TaskExpired, task_ref(row, self._queue))
