"""End tasks that have expired when they are claimed or would be dispatched.

A task that expires on its way to a worker is ended there: see ``Executor``.
"""

import time
from functools import partial
from operator import itemgetter

from django_partisan.engine.expiring import expire, has_expired
from django_partisan.engine.manager.chunking import ClaimTimes
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.task_ref import task_ref
from django_partisan.sql.claiming import EXPIRES, TOKEN, TaskRow
from django_partisan.sql.settling import RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import TaskExpired

_expires = itemgetter(EXPIRES)


class Expirations:
    """End expired tasks of a queue, without a run."""

    def __init__(self, queue: str, settler: Settler, claim_times: ClaimTimes) -> None:
        self._queue = queue
        self._settler = settler
        self._claim_times = claim_times

    def sift(self, rows: list[TaskRow]) -> list[TaskRow]:
        """End the tasks that have expired; return the others."""
        if not any(map(_expires, rows)):
            return rows
        now, claimed_at = time.monotonic(), self._claim_times.of(rows)
        others = []
        for row in rows:
            if has_expired(row, now - claimed_at.get(row[TOKEN], now)):
                self.settle(row, expire(row))
            else:
                others.append(row)
        return others

    def settle(self, row: TaskRow, change: RowChange) -> None:
        """Settle an expired task; emit it when it is written, as another manager may have taken it."""
        self._settler.settle(row, change, written=partial(self._emit, row))

    def _emit(self, row: TaskRow) -> None:
        bus.emit(TaskExpired, task_ref(row, self._queue))
