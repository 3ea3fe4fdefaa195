"""Dispatch buffered tasks to workers, and recall them from a worker that is stuck."""

import time
from collections.abc import Callable

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.chunking import SILENT_SECONDS, STALE_SECONDS, chunks, recall_stuck
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.manager.sharing import Sharing
from django_partisan.engine.manager.worker_process import State, WorkerProcess
from django_partisan.engine.presence import PresenceFile
from django_partisan.sql.claiming import TaskRow


class Dispatcher(Component):
    """The component that dispatches buffered tasks, and limits how many tasks are claimed.

    Nothing is dispatched while ``may_start`` returns False, because other managers may have taken our tasks.
    """

    def __init__(
        self,
        config: QueueConfig,
        intake: Intake,
        pool: Pool,
        settler: Settler,
        presence: PresenceFile,
        sharing: Sharing,
        may_start: Callable[[], bool],
    ) -> None:
        self._config = config
        self._intake = intake
        self._buffer = intake.buffer
        self._pool = pool
        self._settler = settler
        self._presence = presence
        self._may_start = may_start
        self._sharing = sharing
        self._surplus_at = 0.0
        """Monotonic time at which tasks above the maximum were last released."""

    @property
    def has_idle_worker(self) -> bool:
        """True if a worker is idle and no task is buffered for it."""
        return not self._buffer and any(
            worker.takes_tasks and not worker.held for worker in self._pool.workers
        )

    def room(self, claim_seconds: float = 0.0) -> int:
        """Return how many tasks may be claimed now by a claim that is expected to take ``claim_seconds``.

        ``MIN_QUEUE_SIZE`` and ``MAX_QUEUE_SIZE`` limit the claimed tasks that have not started, and other
        managers of the queue get their share. Two kinds of tasks do not count: buffered tasks that idle
        workers start in this turn, and tasks that should have started by the time the claim is answered. The
        second kind counts if more than the maximum have not started: then tasks take longer than expected.
        There is always room for one task for each idle worker, unless too many outcomes are unsettled.
        """
        is_any_ready = any(worker.state is State.READY for worker in self._pool.workers)
        if not is_any_ready or self._settler.is_full:
            return 0
        unfed = sum(one.takes_tasks and not one.held for one in self._unreserved()) - len(self._buffer)
        buffered = max(-unfed, 0)
        not_started = buffered + self._waiting()
        if 0 < not_started <= self._config.max_queue_size:
            not_started -= self._starting(claim_seconds, buffered)
        if not_started > self._config.min_queue_size and unfed <= 0:
            return 0
        room = max(self._config.max_queue_size - not_started, 0)
        return max(self._sharing.limit(room), unfed)

    def take(self, rows: list[TaskRow], since: float | None = None) -> None:
        """Receive claimed tasks; ``since`` is when the claim was sent, by the boot clock."""
        self._intake.drop_forgotten(rows, self._pool.workers)
        self._intake.on_claimed(rows, since)

    def turn(self, now: float) -> None:
        """Dispatch tasks; recall tasks from a stuck worker, sooner if another worker is idle."""
        if self._buffer and self._may_start():
            for worker, rows in chunks(self._unreserved(), self._buffer, self._intake.run_times):
                self._pool.dispatch(worker, rows, self._intake.claim_times.of(rows))
            self._release_surplus()
        self._next_at = NEVER
        recallable = [worker for worker in self._pool.workers if len(worker.held) > 1]
        if recallable:
            is_any_idle = any(
                worker.state is State.READY and not worker.held for worker in self._pool.workers
            )
            is_wanted = is_any_idle and not self._buffer
            patience = STALE_SECONDS if is_wanted else SILENT_SECONDS
            self._next_at = recall_stuck(recallable, self._presence, now, patience)

    def _release_surplus(self) -> None:
        """Release what exceeds the maximum, after tasks that should have started did not."""
        not_started = len(self._buffer) - self._buffer.rescued + self._waiting()
        if self._buffer and not_started > self._config.max_queue_size:
            self._settler.release(self._buffer.take_last(not_started - self._config.max_queue_size))
            self._surplus_at = time.monotonic()

    def _waiting(self) -> int:
        """Return how many tasks the workers hold but have not started."""
        return sum(worker.waiting for worker in self._pool.workers)

    def _starting(self, seconds: float, buffered: int) -> int:
        """Return how many of the tasks that have not started should start within ``seconds``.

        Nothing is expected of a worker that has been silent since tasks above the maximum were last released,
        because it may be stuck.
        """
        free = [
            worker
            for worker in self._unreserved()
            if worker.takes_tasks
            and worker.expected_seconds <= seconds
            and worker.active_at > self._surplus_at
        ]
        starting = sum(worker.waiting for worker in free)
        mean = self._intake.run_times.mean
        may_run = all(worker.tasks_left is None or worker.tasks_left >= buffered for worker in free)
        if mean is not None and may_run and mean * buffered <= seconds * len(free):
            starting += buffered
        return starting

    def _unreserved(self) -> list[WorkerProcess]:
        """Return the workers that are not reserved for a suspect."""
        return [worker for worker in self._pool.workers if worker is not self._pool.reserved]

    @property
    def is_idle(self) -> bool:
        """True if the buffer holds no task, including suspects."""
        return not self._buffer and not self._buffer.suspects

    def stop(self) -> None:
        """Release the buffered tasks; the intake adds no more."""
        super().stop()
        self._settler.release(self._buffer.take_all())
