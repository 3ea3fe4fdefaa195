"""Group commit: while one settle statement is under way, outcomes gather for the next."""

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.settling import (
    Pair,
    Written,
    write_outcomes,
    write_releases,
)
from django_partisan.engine.task_ref import task_ref
from django_partisan.outcomes import REASON_STOPPED, REASON_UNSETTLEABLE
from django_partisan.sql.claiming import CONTEXT, ID, TOKEN, TaskRow
from django_partisan.sql.settling import STATUS_ERROR, STATUS_NEW, RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    OutcomesSettled,
    SettleErrored,
    SettleFailed,
    TaskClaimLost,
    TaskFailed,
    TasksReleased,
)

BATCH_AT_MOST: Final = 5000


class Batch(NamedTuple):
    """Outcomes that are written together, with the rows they are for."""

    completed: list[TaskRow]
    changes: list[tuple[TaskRow, RowChange]]
    released: list[TaskRow]
    again: bool = False
    """An answer to the same batch was lost before: part of it may be written."""

    def __len__(self) -> int:
        return len(self.completed) + len(self.changes) + len(self.released)


class Settler(Component):
    """Settle and release the tasks of one queue; outcomes wait as long as the database is away.

    ``requeued`` is called once tasks wait again, with the seconds until the first of them is due.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        outage: Outage,
        requeued: Callable[[float], None],
    ) -> None:
        self._config = config
        self._thread = thread
        self._requeued = requeued
        self._completed: list[TaskRow] = []
        self._changes: deque[tuple[TaskRow, RowChange]] = deque()
        self._released: list[TaskRow] = []
        self._under_way: Batch | None = None
        self._outage = outage
        self.failed = 0
        """How many tasks have failed so far."""
        self.released = 0
        """How many tasks have been released so far."""
        self.last_finished_at: float | None = None

    @property
    def unsettled(self) -> int:
        """How many outcomes are not written yet."""
        return len(self._completed) + len(self._changes) + len(self._released) + len(self._under_way or ())

    @property
    def is_idle(self) -> bool:
        """True if every outcome is written."""
        return not self.unsettled

    @property
    def is_reachable(self) -> bool:
        """False while settling fails."""
        return not self._outage.is_on

    def complete(self, rows: list[TaskRow]) -> None:
        """Have completed tasks settled."""
        self._completed += rows

    def settle(self, row: TaskRow, change: RowChange) -> None:
        """Have the outcome of a run settled that did not complete."""
        self._changes.append((row, change))
        self.failed += change.status == STATUS_ERROR

    def release(self, rows: list[TaskRow]) -> None:
        """Have tasks released that were not started, or whose run was stopped."""
        self._released += rows

    def turn(self, now: float) -> None:
        """Write the outcomes that gathered, unless a write is under way."""
        if self._thread.is_busy or now < self._outage.over_at:
            return
        batch = self._under_way or self._gather()
        if not batch:
            return
        self._under_way = batch
        call = partial(_write, batch=batch, delete=self._config.delete_tasks_on_complete)
        self._thread.submit(call, partial(self._on_written, now))

    def next_at(self) -> float:
        """Return the monotonic time of the next write, which an outage puts off."""
        return self._outage.over_at if self.unsettled and not self._thread.is_busy else NEVER

    def ids(self) -> list[int]:
        """Return the ids of the tasks that are not settled yet."""
        batch = self._under_way or Batch([], [], [])
        rows = [*batch.completed, *batch.released, *self._completed, *self._released]
        return [row[ID] for row in rows] + [change.id for _, change in [*batch.changes, *self._changes]]

    def _gather(self) -> Batch:
        changes: list[tuple[TaskRow, RowChange]] = []
        ids: set[int] = set()
        # One statement writes a row once: a second outcome of the same task waits for the next batch.
        while self._changes and len(changes) < BATCH_AT_MOST and self._changes[0][1].id not in ids:
            ids.add(self._changes[0][1].id)
            changes.append(self._changes.popleft())
        if self._changes:  # one of them may be a crash of a task that completed, or went back, since
            return Batch([], changes, [])
        completed, self._completed = self._completed[:BATCH_AT_MOST], self._completed[BATCH_AT_MOST:]
        released, self._released = self._released, []
        return Batch(completed, changes, released)

    def _on_written(self, started: float, result: Any) -> None:
        batch = self._under_way
        assert batch is not None
        if isinstance(result, Exception):
            self._under_way = Batch(batch.completed, batch.changes, batch.released, again=True)
            bus.emit(SettleErrored, self._config.queue)
            if self._outage.fail(result):
                bus.emit(SettleFailed, self._config.queue, len(batch), self._outage.error)
            return
        self._under_way = None
        self._outage.end()
        written, released = result
        delays = [change.delay for _, change in batch.changes if change.status == STATUS_NEW]
        if delays:
            self._requeued(min(delays))  # not before they are written: a look would not find them
        self._emit(batch, written, released, time.monotonic() - started)

    def _emit(self, batch: Batch, written: Written, released: list[int], seconds: float) -> None:
        queue = self._config.queue
        rows = [*batch.completed, *(row for row, _ in batch.changes)]
        if rows:
            self.last_finished_at = time.time()
            if bus.wanted(OutcomesSettled):
                contexts = tuple(row[CONTEXT] for row in rows if row[CONTEXT] is not None)
                ids = tuple(row[ID] for row in rows)
                bus.emit(OutcomesSettled, queue, len(rows), seconds, contexts, ids)
        if batch.released:
            self.released += len(released)
            bus.emit(TasksReleased, queue, len(released), REASON_STOPPED)
        if written.lost or written.unsettleable:
            by_id = {row[ID]: row for row in rows}
            for task_id in written.lost:
                bus.emit(TaskClaimLost, task_ref(by_id[task_id], queue))
            for task_id, error in written.unsettleable:
                self.failed += 1
                bus.emit(TaskFailed, task_ref(by_id[task_id], queue), None, REASON_UNSETTLEABLE, error)


def _write(connection: BaseDatabaseWrapper, batch: Batch, delete: bool) -> tuple[Written, list[int]]:
    changes = [change for _, change in batch.changes]
    written = write_outcomes(connection, _pairs(batch.completed), changes, delete, batch.again)
    return written, write_releases(connection, _pairs(batch.released))


def _pairs(rows: list[TaskRow]) -> list[Pair]:
    return [(row[ID], row[TOKEN]) for row in rows]
