"""Take in tasks: from claims, from dead managers, and back from workers.

A task of ours is in the buffer, held by a worker, or with the settler; or it waits for a revoked run
of it to end. While the manager drains, what comes in is released.
"""

from collections.abc import Iterable

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.buffer import Buffer
from django_partisan.engine.manager.chunking import ClaimTimes, Pace
from django_partisan.engine.manager.drain import Drain
from django_partisan.engine.manager.rescue import Rescue
from django_partisan.engine.manager.revoked_runs import RevokedRuns
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.protocol import Report
from django_partisan.engine.task_ref import task_ref
from django_partisan.outcomes import REASON_STOPPED
from django_partisan.sql.claiming import ID, TaskRow
from django_partisan.sql.leasing import Orphan
from django_partisan.sql.settling import RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import TaskClaimLost


class Intake:
    """Hand each task that comes in to the buffer, and each outcome to the settler."""

    def __init__(self, config: QueueConfig, settler: Settler, drain: Drain) -> None:
        self._queue = config.queue
        self._settler = settler
        self._drain = drain
        self._revoked = RevokedRuns()
        self.buffer = Buffer()
        self.pace = Pace()
        self.claim_times = ClaimTimes()
        self._rescue = Rescue(config, self.buffer, settler, drain)

    def known_ids(self, held: list[TaskRow]) -> list[int]:
        """Return the ids of all tasks that are ours as far as is known here; workers hold ``held``."""
        rows = [*self.buffer.rows(), *self._revoked.waiting(), *self._revoked.without(held)]
        return [row[ID] for row in rows] + self._settler.ids()

    def keep_only(self, ids: set[int], workers: Iterable[WorkerProcess]) -> int:
        """Drop the tasks that are not in ``ids``; return how many the buffer and ``workers`` held."""
        held = len(self.buffer)
        self.buffer.keep_only(ids)
        for worker in workers:
            held += len(worker.held)
            lost = set(worker.held) - ids
            if lost:
                self._revoked.add(lost)
                worker.recall()
        return held

    def on_claimed(self, rows: list[TaskRow]) -> None:
        """Take in what was claimed; all rows carry one token."""
        self.claim_times.note(rows)
        rows = self._revoked.set_aside(rows)
        if self._drain.is_on:
            self._settler.release(rows, REASON_STOPPED)
        else:
            self.buffer.add(rows)

    def on_rescued(self, orphans: list[Orphan]) -> None:
        """Take in what a dead manager held; it runs before all else."""
        rows = [orphan.row for orphan in orphans]
        self.claim_times.note(rows)
        free = {row[ID] for row in self._revoked.set_aside(rows)}
        self._rescue.from_manager([orphan for orphan in orphans if orphan.row[ID] in free])

    def on_report(self, worker: WorkerProcess, report: Report) -> None:
        """Hand the outcomes of runs to the settler, and learn how long the runs took."""
        rows = worker.let_go(report.completed)
        self._settler.complete(rows)
        for values in report.changes:
            for row in worker.let_go([values[0]]):
                rows.append(row)
                self._settler.settle(row, RowChange(*values))
        rows += worker.let_go(report.settled)
        for row in worker.let_go(report.claims_lost):
            rows.append(row)
            bus.emit(TaskClaimLost, task_ref(row, self._queue))
        self._ours(rows)
        for processor, (runs, seconds) in report.measured.items():
            worker.work_off(runs * self.pace.of(processor))
            self.pace.learn(processor, runs, seconds)
        bus.absorb(worker.slot, report.telemetry)

    def on_returned(self, worker: WorkerProcess, rows: list[TaskRow]) -> None:
        """Take back tasks that a worker has not started."""
        self._put_back(self._ours(rows))

    def on_exited(self, begun: TaskRow | None, rest: list[TaskRow]) -> None:
        """Take back what a worker held when it ended: the task that it ran, and the rest."""
        ran = self._ours([begun]) if begun is not None else []
        self._rescue.from_worker(ran[0] if ran else None, self._ours(rest))

    def _ours(self, rows: list[TaskRow]) -> list[TaskRow]:
        """Return the tasks whose claim is ours; what waited for the others to end may run now."""
        ours, waited = self._revoked.end(rows)
        if waited:
            self._put_back(waited)
        return ours

    def _put_back(self, rows: list[TaskRow]) -> None:
        if self._drain.is_on:
            self._settler.release(rows, REASON_STOPPED)
        else:
            self.buffer.put_back(rows)
