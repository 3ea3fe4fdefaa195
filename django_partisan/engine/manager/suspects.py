"""Dispatch tasks that may have ended their host: alone, and marked as begun before.

A rescue that cannot know which tasks had begun counts a takeover for each of them. One of them may be the
task that ended the host, and would end the next. So its row says durably that it begins, before it
begins: the next rescue finds the mark and counts a crash, and ``MAX_CRASHES`` ends it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.task_ref import task_ref
from django_partisan.sql import own_claims
from django_partisan.sql.claiming import CRASHES, ID, TOKEN, TaskRow, in_running_order
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import TaskClaimLost

ALONE_SECONDS = float("inf")
"""How long a suspect is expected to run: its worker gets nothing else meanwhile."""


class Suspects(Component):
    """Give the suspects in the buffer, in running order, to workers that hold nothing.

    One that has also crashed is the only one that runs: else it would make the others crash with it.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        outage: Outage,
        intake: Intake,
        pool: Pool,
        may_start: Callable[[], bool],
    ) -> None:
        self._queue = config.queue
        self._thread = thread
        self._outage = outage
        self._intake = intake
        self._buffer = intake.buffer
        self._pool = pool
        self._may_start = may_start
        self._chosen: TaskRow | None = None
        """The next to run: its mark is being written."""
        self._is_marked = False
        self._running: dict[int, TaskRow] = {}

    def turn(self, now: float) -> None:
        """Mark the next suspect, and dispatch it when it is marked."""
        self._next_at = NEVER
        if self.is_stopped or not self._buffer.suspects:
            self._chosen = None
            return
        worker = self._idle_worker()
        if worker is None or not self._may_start():
            return
        if self._chosen is not None:
            if self._is_marked:
                self._dispatch(worker, self._chosen)
        elif now < self._outage.over_at:
            self._next_at = self._outage.over_at
        elif not self._thread.is_busy and self._is_next(self._buffer.suspects[0]):
            self._mark(self._buffer.suspects[0])

    def _idle_worker(self) -> WorkerProcess | None:
        idle = (worker for worker in self._pool.workers if worker.takes_tasks and not worker.held)
        return next(idle, None)

    def _is_next(self, suspect: TaskRow) -> bool:
        """Return whether a suspect runs before what else is buffered, and may run beside what runs."""
        held = {task_id for worker in self._pool.workers for task_id in worker.held}
        self._running = {task_id: row for task_id, row in self._running.items() if task_id in held}
        if self._running and any(row[CRASHES] for row in (suspect, *self._running.values())):
            return False
        first = self._buffer.first()
        if first is None:
            return True
        return not self._buffer.rescued and in_running_order(suspect) < in_running_order(first)

    def _mark(self, row: TaskRow) -> None:
        self._chosen, self._is_marked = row, False
        call = partial(own_claims.mark_begun, task_id=row[ID], token=row[TOKEN])
        self._thread.submit(call, partial(self._on_marked, row))

    def _on_marked(self, row: TaskRow, result: Any) -> None:
        if row is not self._chosen:
            return
        self._is_marked = result is True
        if isinstance(result, Exception):
            self._chosen = None
            self._outage.fail(result)
        elif not self._is_marked:
            self._chosen = None
            self._buffer.drop({row[ID]})
            bus.emit(TaskClaimLost, task_ref(row, self._queue))

    def _dispatch(self, worker: WorkerProcess, row: TaskRow) -> None:
        self._chosen = None
        taken = self._buffer.take_suspect(row[ID])
        if taken is not None:
            self._running[row[ID]] = row
            worker.expect(ALONE_SECONDS)
            self._pool.dispatch(worker, [row], self._intake.claim_times.of([row]))
