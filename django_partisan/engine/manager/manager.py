"""The manager: one loop that claims, hands over, settles, and looks after its workers.

``turn()`` is one turn of the loop. The loop waits only in its selector: the database is asked over
lines, and processes are started by a thread.
"""

import selectors
import threading
import time
import uuid
from collections.abc import Callable
from typing import Final

import django_partisan
from django_partisan.config.queues import QueueConfig
from django_partisan.engine.forkserver.spawner import Spawner
from django_partisan.engine.manager.claimer import Claimer
from django_partisan.engine.manager.database_thread import Line
from django_partisan.engine.manager.dispatcher import NEVER, Custody
from django_partisan.engine.manager.lease import Lease
from django_partisan.engine.manager.loop_calls import Wakeup
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.manager.shutdown import Shutdown, handling_signals
from django_partisan.engine.manager.snapshot import Snapshots
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.sql.claiming import ID, TaskRow
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    REASON_STOPPED,
    ManagerDraining,
    ManagerStarted,
    ManagerStopped,
)

LONGEST_WAIT_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 5.0
FORCED_SETTLE_SECONDS: Final = 10.0
"""How long a forced stop waits for a database that neither answers nor refuses."""
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
        finished: Callable[["Manager"], bool] | None = None,
    ) -> None:
        self.config = config
        self.started_at = time.monotonic()
        self.last_loop_at = time.time()
        self.has_ended = threading.Event()
        self._finished = finished
        self._in_doubt = False
        self._had_tasks_at = 0.0
        self._is_drained = False
        self.selector = selectors.DefaultSelector()
        self.wakeup = Wakeup()
        self.selector.register(self.wakeup.fd, selectors.EVENT_READ, lambda mask: self.wakeup.run_delivered())
        deliver = self.wakeup.deliver
        instance = uuid.uuid4()
        self.presence = PresenceFile(instance, config.workers_count)
        self._lines = [Line(f"{role} {config.queue}", deliver) for role in ("claim", "settle", "pulse")]
        claim_line, settle_line, self._pulse_line = self._lines
        self.shutdown = Shutdown(config.stop_timeout_seconds)
        self.claimer = Claimer(
            config, claim_line, lambda: self.lease.id, self._on_claimed, failed=self._doubt
        )
        self.settler = Settler(config, settle_line, requeued=self.claimer.expect)
        self.custody = Custody(config, self.settler, self.shutdown, self.presence)
        self.lease = Lease(
            config,
            self._pulse_line,
            instance,
            self.custody.on_rescued,
            self._on_kept,
            failed=self._on_pulse_failed,
        )
        self._starter = Spawner(self.presence.fd, config.preload, deliver)
        self.pool = Pool(
            self.custody, self.selector, self._starter, self.presence, spec_of, config.workers_count
        )
        self.snapshot = Snapshots(self)
        """Callable from any thread: the state of this manager, for gauges and probes."""

    def run(self, serve: Callable[[Snapshots], str | None] = lambda snapshot: None) -> int:
        """Turn until stopped; return the exit code: 0, 1 after a forced stop, 2 if a task failed.

        ``serve`` is called first; it may serve the manager's snapshots somewhere and return the address.
        """
        try:
            address = serve(self.snapshot)
            version = django_partisan.__version__
            bus.emit(ManagerStarted, self.config.queue, self.config.workers_count, version, address)
            if self.config.listen:
                self._pulse_line.listen(self._on_notified)
            with handling_signals(self.shutdown, self.wakeup.deliver):
                while not self.is_stopped:
                    self.turn()
        finally:
            unfinished = self._close()
        seconds = time.monotonic() - self.started_at
        bus.emit(ManagerStopped, self.config.queue, seconds, self.settler.released, unfinished)
        if self.shutdown.is_forced:
            return EXIT_FORCED
        return EXIT_TASK_FAILED if self.settler.failed else EXIT_OK

    def turn(self, longest: float = LONGEST_WAIT_SECONDS) -> None:
        """Wait for whatever comes first, at most ``longest`` seconds, and do what is to be done."""
        timeout = max(0.0, min(longest, self._next_at() - time.monotonic()))
        for key, mask in self.selector.select(timeout):
            key.data(mask)
        now = time.monotonic()
        self.last_loop_at = time.time()
        self.pool.turn(now)
        self.lease.turn(now)
        self.custody.hand_over(self.pool, now)
        self.settler.turn(now)
        if self._finished is not None:
            self._note_whether_busy(now)
        if self._in_doubt:
            self._look_for_unheard()
        elif self.lease.is_ready:
            self.claimer.turn(now, self.custody.room(self.pool))
        self._stop_if_asked(now)

    def _note_whether_busy(self, now: float) -> None:
        if self._has_tasks:
            self._had_tasks_at = now
        elif self.claimer.looked_from <= self._had_tasks_at:
            self.claimer.expect(0)

    @property
    def is_stopped(self) -> bool:
        """True when nothing is left to do: workers gone, outcomes settled, our row given up."""
        return self._is_drained and (self.shutdown.is_forced or not self._pulse_line.busy)

    @property
    def is_idle(self) -> bool:
        """True if nothing was due when last looked, nothing is held, and all is settled."""
        # A run may have enqueued or postponed after the last look began: only a later one tells.
        return (
            self.lease.is_ready
            and not self._in_doubt
            and not self._has_tasks
            and self.claimer.is_idle
            and self.claimer.looked_from > self._had_tasks_at
        )

    @property
    def _has_tasks(self) -> bool:
        return bool(self.custody.buffer or self.pool.held() or self.settler.unsettled)

    def _next_at(self) -> float:
        return min(
            self.pool.next_at(),
            self.lease.next_at(),
            self.custody.next_at(),
            self.settler.next_at(),
            self.claimer.next_at() if self.lease.is_ready and not self._in_doubt else NEVER,
            self.shutdown.next_at(),
        )

    def _on_claimed(self, rows: list[TaskRow]) -> None:
        self.custody.on_claimed(rows)

    def _on_notified(self, queues: set[str] | None) -> None:
        if queues is None:  # some may be missed: listen again with the next heartbeat, and look
            self.lease.beat_soon()
            self.claimer.notified()
        elif self.config.queue in queues:
            self.claimer.notified()

    def _on_kept(self, ids: set[int]) -> int:
        self.claimer.renew()
        return self.custody.on_kept(self.pool, ids)

    def _doubt(self) -> None:
        """Note that an answer of the database was lost: a task may be ours that nobody here knows."""
        self._in_doubt = True

    def _on_pulse_failed(self, error: Exception) -> None:
        if self._in_doubt:  # what would end the doubt is not answered either
            self.claimer.withheld(error)
        self._doubt()

    def _look_for_unheard(self) -> None:
        if not self.claimer.busy:
            self.lease.find_unheard(self.custody.known_ids(self.pool), self._on_unheard)

    def _on_unheard(self, rows: list[TaskRow]) -> None:
        self._in_doubt = False
        self.custody.on_claimed(rows)

    def _stop_if_asked(self, now: float) -> None:
        if not self.shutdown.is_draining and self._finished is not None and self._finished(self):
            self.shutdown.ask()
        self.shutdown.turn(now)
        if not self.shutdown.is_draining or self._is_drained:
            return
        if not self.claimer.is_stopped:
            self._begin_to_drain()
        if self.shutdown.is_forced:
            self.pool.kill()
        is_settled = not self.claimer.busy and not self.settler.unsettled
        if self.pool.is_empty and (is_settled or self._gives_up_on_database(now)):
            self._is_drained = True
            self.lease.stop()

    def _gives_up_on_database(self, now: float) -> bool:
        """Tell whether a forced stop leaves what is unsettled to whoever rescues it."""
        forced_at = self.shutdown.forced_at
        if forced_at is None:
            return False
        return not self.settler.reachable or now >= forced_at + FORCED_SETTLE_SECONDS

    def _begin_to_drain(self) -> None:
        in_progress = sum(bool(worker.held) for worker in self.pool.workers)
        bus.emit(ManagerDraining, self.config.queue, self.shutdown.signal, in_progress)
        self.claimer.stop()
        self.settler.release(self.custody.buffer.take_all(), REASON_STOPPED)
        self.pool.stop()

    def _close(self) -> tuple[int, ...]:
        """End threads and processes; return the ids of tasks that are left in process."""
        left = [row[ID] for row in self.pool.held()] + self.settler.ids()
        self.pool.kill()
        self._starter.close(CLOSE_SECONDS)
        ended = [line.close(CLOSE_SECONDS) for line in self._lines]
        self.selector.close()
        if self.pool.is_empty:
            self.presence.remove()
        if all(ended):
            self.wakeup.close()
        self.has_ended.set()
        return tuple(left)
