"""Interrupt runs that exceed their time limit, and runs whose task is cancelled.

The worker's page shows which task it runs and when the run began. An interruption has up to three steps:

1. The worker raises an exception inside ``run()``, and reports the outcome itself.
2. If its page still shows the run after ``INTERRUPT_GRACE_SECONDS``, the page is marked, and the worker logs
   the stacks of its threads. A worker whose page is marked starts no other run until the mark is removed.
3. If its page still shows the run ``STACKS_SECONDS`` later, no other run can have started, and the worker is
   killed. When it has exited, the intake settles the task, unless the worker has already done so.
"""

import time
from typing import Final

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.interrupting import CANCEL, REASONS, TIMEOUT
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.time_limits import TimeLimits
from django_partisan.engine.manager.worker_process import State, WorkerProcess
from django_partisan.engine.pages import Page
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.protocol import Interrupt, LogStacks
from django_partisan.engine.task_ref import task_ref
from django_partisan.sql.claiming import ID, PROCESSOR, TaskRow
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.values import TaskRef
from django_partisan.telemetry.events.workers import RunInterrupted, WorkerKilled

STACKS_SECONDS: Final = 0.5
"""How many seconds a worker has to log its stacks before it is killed."""
RING_SECONDS: Final = 0.25
"""How often a worker is reminded to read its pipe, which may have been full when the message was sent."""
LEAST_PAUSE_SECONDS: Final = 0.05
"""The shortest interval between checks for new runs, however short the shortest time limit is."""


class InterruptedRun:
    """An interrupted run; at ``kill_at`` (monotonic) its page is marked, or then its worker is killed."""

    def __init__(self, worker: WorkerProcess, row: TaskRow, message: Interrupt, kill_at: float) -> None:
        self.worker = worker
        self.row = row
        self.message = message
        self.kill_at = kill_at
        self.is_condemned = False

    def is_under_way(self, page: Page) -> bool:
        """Return whether the worker's page still shows the run."""
        shown = page.begun, page.task_id
        return _is_shown(self.worker) and shown == (self.message.run_number, self.row[ID])


class Interruptions(Component):
    """The component that interrupts runs; it checks for long runs only if some processor has a limit."""

    def __init__(self, config: QueueConfig, pool: Pool, presence: PresenceFile, limits: TimeLimits) -> None:
        self._queue = config.queue
        self._grace_seconds = config.interrupt_grace_seconds
        self._pool = pool
        self._presence = presence
        self._limits = limits
        self._runs: dict[WorkerProcess, InterruptedRun] = {}
        self._check_at = NEVER
        self._shortest = NEVER
        """The shortest time limit at the last check, in seconds."""
        self._follow_at = NEVER

    def request(self, task_id: int, kind: str, comment: str = "") -> bool:
        """Interrupt the run of a task; return False if no worker of this manager is running it.

        ``kind`` is ``timeout`` or ``cancel``. A second request for the same run has no effect, except that
        ``cancel`` replaces ``timeout`` until the page is marked.
        """
        for worker in self._pool.workers:
            row = worker.held.get(task_id)
            if row is not None and _is_shown(worker):
                page = self._presence.page(worker.slot)
                if page.task_id == task_id:
                    self._interrupt(worker, row, page, kind, comment)
                    return True
        return False

    def turn(self, now: float) -> None:
        """Interrupt runs that exceed their limit, and take the next step for interrupted runs."""
        if now >= self._follow_at:
            runs = list(self._runs.values())
            self._follow_at = min((self._follow(run, now) for run in runs), default=NEVER)
        shortest = self._limits.shortest
        # Code that a worker imports late may bring a shorter limit, which applies to runs under way, too.
        if shortest < NEVER and (
            now >= self._check_at or self._check_at == NEVER or shortest < self._shortest
        ):
            self._shortest = shortest
            self._check_at = self._check_limits(now, shortest)

    def next_at(self) -> float:
        """Return the monotonic time of the next check; ``NEVER`` if no worker holds a task."""
        return min(self._check_at, self._follow_at)

    def _check_limits(self, now: float, shortest: float) -> float:
        """Interrupt the runs that exceed their limit; return the monotonic time of the next check."""
        check_at = NEVER
        for worker in self._pool.workers:
            if not worker.held or not _is_shown(worker):
                continue
            # A run that starts after this check cannot exceed its limit before the shortest limit has passed.
            check_at = min(check_at, now + max(shortest, LEAST_PAUSE_SECONDS))
            page = self._presence.page(worker.slot)
            row = worker.held.get(page.task_id)
            if row is None:
                continue
            limit = self._limits.of(row[PROCESSOR])
            if page.since + limit > now:
                check_at = min(check_at, page.since + limit)
            else:
                text = f"{row[PROCESSOR]} ran longer than its time limit of {limit:g} s."
                self._interrupt(worker, row, page, TIMEOUT, text)
        return check_at

    def _interrupt(self, worker: WorkerProcess, row: TaskRow, page: Page, kind: str, comment: str) -> None:
        """Ask the worker to interrupt the run that its page shows, unless it was asked before."""
        now = time.monotonic()
        kill_at = now + self._grace_seconds
        before = self._runs.get(worker)
        if before is not None and before.is_under_way(page):
            if before.is_condemned or before.message.kind in (kind, CANCEL):
                return
            kill_at = before.kill_at
        elif before is not None and before.is_condemned:  # the mark is for an earlier run
            self._presence.condemn(worker.slot, 0)
        message = Interrupt(page.begun, kind, comment)
        self._runs[worker] = InterruptedRun(worker, row, message, kill_at)
        self._follow_at = min(self._follow_at, kill_at, now + RING_SECONDS)
        self._pool.send(worker, message)
        worker.ring()
        bus.emit(RunInterrupted, *self._values(worker, row, page, kind, now), comment)

    def _follow(self, run: InterruptedRun, now: float) -> float:
        """Take the next step for an interrupted run if it is due; return when to check the run again."""
        worker = run.worker
        page = self._presence.page(worker.slot)
        if not run.is_under_way(page):
            del self._runs[worker]
            if run.is_condemned and not worker.has_exited:
                self._presence.condemn(worker.slot, 0)
            return NEVER
        if worker.killed_for is not None:  # its exit is noticed soon
            return now + RING_SECONDS
        if now >= run.kill_at:
            if run.is_condemned:
                worker.kill_for(run.message)
                bus.emit(WorkerKilled, *self._values(worker, run.row, page, run.message.kind, now))
                return now + RING_SECONDS
            run.is_condemned = True
            run.kill_at = now + STACKS_SECONDS
            self._presence.condemn(worker.slot, run.message.run_number)
            self._pool.send(worker, LogStacks())
        worker.ring()
        return min(run.kill_at, now + RING_SECONDS)

    def _values(
        self, worker: WorkerProcess, row: TaskRow, page: Page, kind: str, now: float
    ) -> tuple[TaskRef, int, int, int, str, float]:
        """Return the values that both events share: task, worker, reason, and seconds since the run began."""
        task = task_ref(row, self._queue)
        return task, worker.slot, worker.generation, worker.pid, REASONS[kind], max(0.0, now - page.since)


def _is_shown(worker: WorkerProcess) -> bool:
    """Return whether the page of the worker's slot is still its own."""
    return worker.state not in (State.ENDING, State.RECYCLING) and not worker.has_exited
