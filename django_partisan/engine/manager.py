"""The manager: one loop that claims, hands over, settles, and looks after its workers.

``turn()`` is one turn of the loop. The loop waits only in its selector: the database is asked over
lines, and processes are started by a thread.
"""

import selectors
import time
import uuid
from collections.abc import Callable
from typing import Any, Final

import django_partisan
from django_partisan import events
from django_partisan.conf import QueueConfig
from django_partisan.engine.buffer import Buffer
from django_partisan.engine.claimer import Claimer
from django_partisan.engine.execution import CLAIM_LOST
from django_partisan.engine.handover import ClaimTimes, Pace, feed, to_recall
from django_partisan.engine.lease import Lease
from django_partisan.engine.line import Line
from django_partisan.engine.naming import task_ref
from django_partisan.engine.pool import Pool
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.rescue import Rescue
from django_partisan.engine.settler import Settler
from django_partisan.engine.shutdown import Shutdown, handling_signals
from django_partisan.engine.snapshot import Snapshots
from django_partisan.engine.starter import Starter
from django_partisan.engine.wakeup import Wakeup
from django_partisan.engine.worker import WorkerSpec
from django_partisan.engine.worker_process import WorkerProcess
from django_partisan.facts import REASON_STOPPED, ManagerDraining, ManagerStarted, ManagerStopped, TaskClaimLost
from django_partisan.sql.claiming import ID, TaskRow
from django_partisan.sql.leasing import Orphan
from django_partisan.sql.settling import Outcome

LONGEST_WAIT_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 5.0
EXIT_OK: Final = 0
EXIT_FORCED: Final = 1
EXIT_TASK_FAILED: Final = 2


class Manager:
    """Serve one queue until asked to stop.

    ``spec_of`` makes what a worker of a slot and generation is told. ``finished`` is asked in every
    turn whether to stop by itself.
    """

    def __init__(
        self,
        config: QueueConfig,
        spec_of: Callable[[int, int], WorkerSpec],
        finished: Callable[["Manager"], bool] = lambda manager: False,
    ) -> None:
        self.config = config
        self.failed = 0
        """How many tasks failed for good."""
        self.started_at = time.monotonic()
        self.last_loop_at = time.time()
        self.shutdown = Shutdown(config.stop_timeout_seconds)
        self.buffer = Buffer()
        self._finished = finished
        self._drain_begun = False
        self._is_drained = False
        self._recall_at = float("inf")
        self._pace = Pace()
        self._claim_times = ClaimTimes()
        self.selector = selectors.DefaultSelector()
        self.wakeup = Wakeup()
        self.selector.register(self.wakeup.fd, selectors.EVENT_READ, lambda mask: self.wakeup.run_delivered())
        instance = uuid.uuid4()
        self.presence = PresenceFile(instance, config.workers_count)
        deliver = self.wakeup.deliver
        self._lines = [Line(f"{role} {config.queue}", deliver) for role in ("claim", "settle", "pulse")]
        claim_line, settle_line, self._pulse_line = self._lines
        self.settler = Settler(config, settle_line, self._count_failed)
        self._rescue = Rescue(config, self.buffer, self.settler, self.shutdown)
        self.lease = Lease(config, self._pulse_line, instance, self._on_rescued, self._on_kept)
        self.claimer = Claimer(config, claim_line, lambda: self.lease.id, self._on_claimed)
        self._starter = Starter(self.presence.fd, config.preload, deliver)
        self.pool = Pool(self, self.selector, self._starter, self.presence, spec_of, config.workers_count)
        self.snapshot = Snapshots(self)
        """Callable from any thread: the state of this manager, for gauges and probes."""

    def run(self, metrics_address: str | None = None) -> int:
        """Turn until stopped; return the exit code: 0, 1 after a forced stop, 2 if a task failed."""
        version = django_partisan.__version__
        events.tell(ManagerStarted, self.config.queue, self.config.workers_count, version, metrics_address)
        if self.config.listen:
            self._pulse_line.listen(self._on_notified)
        try:
            with handling_signals(self.shutdown, self.wakeup.deliver):
                while not self.is_stopped:
                    self.turn()
        finally:
            unfinished = self._close()
        seconds = time.monotonic() - self.started_at
        events.tell(ManagerStopped, self.config.queue, seconds, self.settler.released, unfinished)
        if self.shutdown.is_forced:
            return EXIT_FORCED
        return EXIT_TASK_FAILED if self.failed else EXIT_OK

    def turn(self, longest: float = LONGEST_WAIT_SECONDS) -> None:
        """Wait for whatever comes first, at most ``longest`` seconds, and do what is to be done."""
        timeout = max(0.0, min(longest, self._next_at() - time.monotonic()))
        for key, mask in self.selector.select(timeout):
            key.data(mask)
        now = time.monotonic()
        self.last_loop_at = time.time()
        self.pool.turn(now)
        self.lease.turn(now)
        self._hand_over(now)
        self.settler.turn(now)
        if self.lease.is_ready:
            self.claimer.turn(now, self.room())
        self._stop_if_asked(now)

    @property
    def is_stopped(self) -> bool:
        """True when nothing is left to do: workers gone, outcomes settled, our row given up."""
        if not self._is_drained:
            return False
        return not self._pulse_line.busy or self.shutdown.is_forced

    @property
    def is_idle(self) -> bool:
        """True if nothing was due when last looked, nothing is held, and all is settled."""
        return (
            self.lease.is_ready
            and self.claimer.is_idle
            and not self.buffer
            and not any(worker.held for worker in self.pool.workers)
            and not self.settler.unsettled
        )

    def held(self) -> list[TaskRow]:
        """Return the tasks that workers hold."""
        return [row for worker in self.pool.workers for row in worker.held.values()]

    def room(self) -> int:
        """Return how many tasks may be claimed now.

        ``MIN_QUEUE_SIZE`` and ``MAX_QUEUE_SIZE`` bound what is claimed and not begun, but an idle
        worker is always fed.
        """
        idle = waiting = 0
        for worker in self.pool.workers:
            if worker.held:
                waiting += len(worker.held) - 1
            elif worker.takes_tasks:
                idle += 1
        if self.pool.nobody_ready:
            return 0
        not_begun = len(self.buffer) + waiting
        unfed = idle - len(self.buffer)
        if not_begun > self.config.min_queue_size and unfed <= 0:
            return 0
        return max(self.config.max_queue_size - not_begun, unfed, 0)

    def on_report(self, worker: WorkerProcess, report: tuple[Any, ...]) -> None:
        """Take note of what came of tasks: hand their outcomes to the settler, learn their pace."""
        _, _, completed, others, ended, measured, taken = report
        self.settler.complete(worker.let_go(completed))
        for values in others:
            for row in worker.let_go([values[0]]):
                outcome = Outcome(*values)
                self.settler.settle(row, outcome)
                if outcome.status == "new":
                    self.claimer.expect(outcome.delay)
        for task_id, how in ended:
            for row in worker.let_go([task_id]):
                if how == CLAIM_LOST:
                    events.tell(TaskClaimLost, task_ref(row, self.config.queue))
        for processor, (runs, seconds) in measured.items():
            worker.work_off(runs * self._pace.of(processor))
            self._pace.learn(processor, runs, seconds)
        events.absorb(worker.slot, taken)

    def on_returned(self, worker: WorkerProcess, rows: list[TaskRow]) -> None:
        """Take back tasks that a worker has not begun."""
        if self.shutdown.is_draining:
            self.settler.release(rows, REASON_STOPPED)
        else:
            self.buffer.give_back(rows)

    def on_gone(self, worker: WorkerProcess, begun: TaskRow | None, rest: list[TaskRow]) -> None:
        """Take back what a worker held when it ended."""
        self._rescue.from_worker(begun, rest)

    def _next_at(self) -> float:
        return min(
            self.pool.next_at(),
            self.lease.next_at(),
            self.settler.next_at(),
            self.claimer.next_at(),
            self.shutdown.next_at(),
            self._recall_at,
        )

    def _hand_over(self, now: float) -> None:
        if self.shutdown.is_draining:
            return
        for worker, rows in feed(self.pool.workers, self.buffer, self._pace):
            self.pool.hand_over(worker, rows, self._claim_times.of(rows))
        self._recall_at = float("inf")
        if not self.buffer and any(worker.is_idle for worker in self.pool.workers):
            stuck, self._recall_at = to_recall(self.pool.workers, self.presence, now)
            for worker in stuck:
                worker.recall()

    def _stop_if_asked(self, now: float) -> None:
        if not self.shutdown.is_draining and self._finished(self):
            self.shutdown.ask()
        self.shutdown.turn(now)
        if not self.shutdown.is_draining or self._is_drained:
            return
        if not self._drain_begun:
            self._begin_to_drain()
        if self.shutdown.is_forced:
            self.pool.kill()
        away = self.shutdown.is_forced and not self.settler.reachable
        if self.pool.is_empty and not self.claimer.busy and (away or not self.settler.unsettled):
            self._is_drained = True
            self.lease.stop()

    def _begin_to_drain(self) -> None:
        self._drain_begun = True
        in_progress = sum(bool(worker.held) for worker in self.pool.workers)
        events.tell(ManagerDraining, self.config.queue, self.shutdown.signal, in_progress)
        self.claimer.stop()
        self.settler.release(self.buffer.take_all(), REASON_STOPPED)
        for worker in self.pool.workers:
            worker.recall()
        self.pool.stop()

    def _on_claimed(self, rows: list[TaskRow]) -> None:
        self._claim_times.note(rows)
        if self.shutdown.is_draining:
            self.settler.release(rows, REASON_STOPPED)
        else:
            self.buffer.add(rows)

    def _on_notified(self, queues: set[str]) -> None:
        if self.config.queue in queues:
            self.claimer.notified()

    def _on_rescued(self, orphans: list[Orphan]) -> None:
        self._claim_times.note([orphan.row for orphan in orphans])
        self._rescue.from_manager(orphans)

    def _on_kept(self, ids: set[int]) -> int:
        """Drop what others took over while our lease was lost; return how many tasks we had held."""
        held = len(self.buffer) + sum(len(worker.held) for worker in self.pool.workers)
        self.buffer.keep_only(ids)
        for worker in self.pool.workers:
            if not ids.issuperset(worker.held):
                worker.recall()
        self.claimer.renew()
        return held

    def _count_failed(self, count: int) -> None:
        self.failed += count

    def _close(self) -> tuple[int, ...]:
        """End threads and processes; return the ids of tasks that are left in process."""
        left = [row[ID] for row in self.held()] + self.settler.ids()
        self.pool.kill()
        self._starter.close(CLOSE_SECONDS)
        ended = [line.close(CLOSE_SECONDS) for line in self._lines]
        self.selector.close()
        if self.pool.is_empty:
            self.presence.remove()
        if all(ended):
            self.wakeup.close()
        return tuple(left)
