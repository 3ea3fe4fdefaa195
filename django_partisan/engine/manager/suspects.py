"""Dispatch suspects, tasks that may have brought down their host, to idle workers; mark each one first.

A rescue that cannot find out which tasks had started counts a takeover for each of them. One of them may have
brought down the host, and may bring down the next one. So the row of a suspect is durably marked as started
before it runs. The next rescue then finds the mark and counts a crash; after more than ``MAX_CRASHES`` the
task fails.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.db import Error

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
from django_partisan.sql.errors import ErrorKind, kind_of
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.tasks import TaskClaimLost

LOCKED_SECONDS: Final = 1.0
"""The pause before a mark is tried again that another transaction's lock prevented."""
ALONE_SECONDS = float("inf")
"""How long a suspect is expected to run, so that its worker gets no other task in the meantime."""


class Suspects(Component):
    """The component that dispatches the suspects in the buffer, in running order, to workers without tasks.

    A suspect that has also crashed runs while no other suspect does, because it could crash them, too.
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
        """The suspect to run next, whose mark is being written or has been written."""
        self._is_marked = False
        self._running: dict[int, TaskRow] = {}
        self._locked_until: dict[int, float] = {}
        """Monotonic time of the next try for suspects with locked rows, by task id."""

    def turn(self, now: float) -> None:
        """Mark the next suspect, and dispatch it once it is marked."""
        self._next_at = NEVER
        self._pool.reserved = None
        if self.is_stopped or not self._buffer.suspects:
            self._chosen = None
            return
        if not self._may_start():
            return
        worker = self._least_busy()
        if self._chosen is not None:
            self._pool.reserved = worker
            if worker is not None and not worker.held and self._is_marked:
                self._dispatch(worker, self._chosen)
            return
        row = self._first(now)
        if row is None or not self._is_next(row):
            return
        if now < self._outage.retry_at:
            self._next_at = self._outage.retry_at
            return
        self._pool.reserved = worker
        if worker is not None and not worker.held and not self._thread.is_busy:
            self._mark(row)

    def _least_busy(self) -> WorkerProcess | None:
        """Return a worker that holds no task, or else the one that is expected to finish first."""
        taking = (worker for worker in self._pool.workers if worker.takes_tasks)
        return min(taking, key=lambda worker: (bool(worker.held), worker.expected_seconds), default=None)

    def _first(self, now: float) -> TaskRow | None:
        """Return the first suspect whose row was not found locked within ``LOCKED_SECONDS``."""
        self._locked_until = {task_id: at for task_id, at in self._locked_until.items() if at > now}
        self._next_at = min(self._locked_until.values(), default=NEVER)
        return next((row for row in self._buffer.suspects if row[ID] not in self._locked_until), None)

    def _is_next(self, suspect: TaskRow) -> bool:
        """Return whether a suspect precedes all other buffered tasks, and may run beside running suspects."""
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
        if isinstance(result, Error) and kind_of(result) is ErrorKind.LOCKED:
            self._chosen = None
            self._locked_until[row[ID]] = time.monotonic() + LOCKED_SECONDS
        elif isinstance(result, Exception):
            self._chosen = None
            self._outage.fail(result)
        elif not self._is_marked:
            self._chosen = None
            self._buffer.drop({row[ID]})
            bus.emit(TaskClaimLost, task_ref(row, self._queue))

    def _dispatch(self, worker: WorkerProcess, row: TaskRow) -> None:
        self._chosen = self._pool.reserved = None
        taken = self._buffer.take_suspect(row[ID])
        if taken is not None:
            self._running[row[ID]] = row
            worker.add_expected(ALONE_SECONDS)
            self._pool.dispatch(worker, [row], self._intake.claim_times.of([row]))
