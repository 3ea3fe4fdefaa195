"""The tasks that are ours: where each is from its claim until its outcome goes to the settler."""

from typing import Any, Final

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.buffer import Buffer
from django_partisan.engine.manager.chunking import (
    SILENT_SECONDS,
    STALE_SECONDS,
    ClaimTimes,
    Pace,
    feed,
    to_recall,
)
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.rescue import Rescue
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.manager.shutdown import Shutdown
from django_partisan.engine.manager.strays import Strays
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.task_ref import task_ref
from django_partisan.engine.worker.executor import CLAIM_LOST
from django_partisan.outcomes import REASON_STOPPED
from django_partisan.sql.claiming import ID, TaskRow
from django_partisan.sql.leasing import Orphan
from django_partisan.sql.settling import Outcome
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import TaskClaimLost

NEVER: Final = float("inf")


class Custody:
    """Take tasks in, hand them over to workers, and take back what did not run.

    A task is in the buffer, or held by a worker, or with the settler; or it is set aside while a run
    of it goes on here that is not ours any more.
    """

    def __init__(
        self, config: QueueConfig, settler: Settler, shutdown: Shutdown, presence: PresenceFile
    ) -> None:
        self._config = config
        self._settler = settler
        self._shutdown = shutdown
        self._presence = presence
        self.buffer = Buffer()
        self._rescue = Rescue(config, self.buffer, settler, shutdown)
        self._strays = Strays()
        self._pace = Pace()
        self._claim_times = ClaimTimes()
        self._recall_at = NEVER

    def room(self, pool: Pool) -> int:
        """Return how many tasks may be claimed now.

        ``MIN_QUEUE_SIZE`` and ``MAX_QUEUE_SIZE`` bound what is claimed and not begun, but an idle
        worker is always fed.
        """
        if pool.nobody_ready:
            return 0
        idle = sum(worker.takes_tasks and not worker.held for worker in pool.workers)
        waiting = sum(len(worker.held) - 1 for worker in pool.workers if worker.held)
        not_begun = len(self.buffer) + waiting
        unfed = idle - len(self.buffer)
        if not_begun > self._config.min_queue_size and unfed <= 0:
            return 0
        return max(self._config.max_queue_size - not_begun, unfed, 0)

    def hand_over(self, pool: Pool, now: float) -> None:
        """Feed the workers; recall from one that is stuck, at once if an idle one has nothing to do."""
        self._recall_at = NEVER
        if self._shutdown.is_draining:
            return
        for worker, rows in feed(pool.workers, self.buffer, self._pace):
            pool.hand_over(worker, rows, self._claim_times.of(rows))
        is_wanted = not self.buffer and any(worker.is_idle for worker in pool.workers)
        patience = STALE_SECONDS if is_wanted else SILENT_SECONDS
        stuck, self._recall_at = to_recall(pool.workers, self._presence, now, patience)
        for worker in stuck:
            worker.recall()

    def next_at(self) -> float:
        """Return the monotonic time at which a worker may turn out to be stuck."""
        return self._recall_at

    def known_ids(self, pool: Pool) -> list[int]:
        """Return the ids of all tasks that are ours as far as is known here."""
        rows = [*self.buffer.rows(), *self._strays.aside(), *self._strays.others(pool.held())]
        return [row[ID] for row in rows] + self._settler.ids()

    def on_claimed(self, rows: list[TaskRow]) -> None:
        """Take in what was claimed."""
        self._claim_times.note(rows)
        rows = self._strays.set_aside(rows)
        if self._shutdown.is_draining:
            self._settler.release(rows, REASON_STOPPED)
        else:
            self.buffer.add(rows)

    def on_rescued(self, orphans: list[Orphan]) -> None:
        """Take in what a dead manager held; it runs before all else."""
        rows = [orphan.row for orphan in orphans]
        self._claim_times.note(rows)
        free = {row[ID] for row in self._strays.set_aside(rows)}
        self._rescue.from_manager([orphan for orphan in orphans if orphan.row[ID] in free])

    def on_kept(self, pool: Pool, ids: set[int]) -> int:
        """Drop what others took over while our lease was lost; return how many tasks we had held."""
        held = len(self.buffer) + sum(len(worker.held) for worker in pool.workers)
        self.buffer.keep_only(ids)
        for worker in pool.workers:
            lost = set(worker.held) - ids
            if lost:
                self._strays.add(lost)
                worker.recall()
        return held

    def on_report(self, worker: WorkerProcess, report: tuple[Any, ...]) -> None:
        """Take note of what came of tasks: hand their outcomes to the settler, learn their pace."""
        _, _, completed, others, ended, measured, taken = report
        rows = worker.let_go(completed)
        self._settler.complete(rows)
        for values in others:
            for row in worker.let_go([values[0]]):
                rows.append(row)
                self._settler.settle(row, Outcome(*values))
        for task_id, how in ended:
            for row in worker.let_go([task_id]):
                rows.append(row)
                if how == CLAIM_LOST:
                    bus.emit(TaskClaimLost, task_ref(row, self._config.queue))
        self._ours(rows)
        for processor, (runs, seconds) in measured.items():
            worker.work_off(runs * self._pace.of(processor))
            self._pace.learn(processor, runs, seconds)
        bus.absorb(worker.slot, taken)

    def on_returned(self, worker: WorkerProcess, rows: list[TaskRow]) -> None:
        """Take back tasks that a worker has not begun."""
        self._put_back(self._ours(rows))

    def on_gone(self, worker: WorkerProcess, begun: TaskRow | None, rest: list[TaskRow]) -> None:
        """Take back what a worker held when it ended."""
        ran = self._ours([begun]) if begun is not None else []
        self._rescue.from_worker(ran[0] if ran else None, self._ours(rest))

    def _ours(self, rows: list[TaskRow]) -> list[TaskRow]:
        """Return the tasks whose claim is ours; what waited for the others to end may run now."""
        ours, waited = self._strays.drop(rows)
        if waited:
            self._put_back(waited)
        return ours

    def _put_back(self, rows: list[TaskRow]) -> None:
        if self._shutdown.is_draining:
            self._settler.release(rows, REASON_STOPPED)
        else:
            self.buffer.give_back(rows)
