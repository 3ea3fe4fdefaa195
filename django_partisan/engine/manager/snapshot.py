"""The manager's state at one moment, as plain values, for gauges and probes."""

import threading
import time
from typing import TYPE_CHECKING, Final

from django_partisan.engine.manager import worker_process as states
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.task_ref import task_ref
from django_partisan.telemetry.events import Snapshot, WorkerSeen

if TYPE_CHECKING:
    from django_partisan.engine.manager.manager import Manager

LOOP_ANSWER_SECONDS: Final = 0.5


class Snapshots:
    """Ask the loop for a snapshot, from any thread.

    A loop that does not answer in time is shown as it last was: its ``last_loop_at`` tells.
    """

    def __init__(self, manager: "Manager") -> None:
        self._manager = manager
        self._latest = _snapshot(manager)

    def __call__(self) -> Snapshot:
        """Return the state now, or the last that is known."""
        taken = threading.Event()

        def take() -> None:
            self._latest = _snapshot(self._manager)
            taken.set()

        self._manager.wakeup.deliver(take)
        taken.wait(LOOP_ANSWER_SECONDS)
        return self._latest


def _snapshot(manager: "Manager") -> Snapshot:
    now = time.monotonic()
    held = [worker for worker in manager.pool.workers if worker.state != states.RETIRING]
    return Snapshot(
        queue=manager.config.queue,
        workers_configured=manager.config.workers_count,
        workers=tuple(_seen(manager, worker, now) for worker in held),
        buffered=len(manager.custody.buffer),
        buffer_limit=manager.config.max_queue_size,
        unsettled=manager.settler.unsettled,
        draining=manager.shutdown.is_draining,
        database_reachable=manager.claimer.reachable and manager.settler.reachable,
        last_loop_at=manager.last_loop_at,
        last_claim_at=manager.claimer.last_claim_at,
        last_finished_at=manager.settler.last_finished_at,
    )


def _seen(manager: "Manager", worker: WorkerProcess, now: float) -> WorkerSeen:
    page = manager.presence.page(worker.slot)
    row = worker.held.get(page.task_id)
    task = None if row is None else task_ref(row, manager.config.queue)
    age = max(0.0, now - page.since) if page.task_id else 0.0
    return worker.seen(task=task, run_age_seconds=age, busy_seconds=page.busy_seconds + age)
