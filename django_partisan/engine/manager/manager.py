"""The manager: a loop over components that claim, dispatch and settle tasks and keep the workers running.

The loop blocks only in its selector. Database calls run in other threads, one for each connection, and
another thread starts processes.
"""

import selectors
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from typing import Final

from django.db import connections

import django_partisan
from django_partisan.engine.forkserver.spawner import Spawner
from django_partisan.engine.liveness import remove_stale_files
from django_partisan.engine.manager.assembly import Assembly, Resources
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.loop_calls import LoopCalls
from django_partisan.engine.manager.notifications import Notified
from django_partisan.engine.manager.process_signals import ProcessSignals
from django_partisan.engine.manager.run_until import Until
from django_partisan.engine.manager.thread_shutdown import end_all
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.sql.claiming import ID
from django_partisan.sql.connection import identity_of, task_database
from django_partisan.sql.control import CONTROL_CHANNEL
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.session import answer_seconds
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.managers import ManagerDraining, ManagerStarted, ManagerStopped
from django_partisan.telemetry.events.snapshot import QueueLimits, Snapshot

LONGEST_WAIT_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 5.0
LOOP_ANSWER_SECONDS: Final = 0.5
FORCED_SETTLE_SECONDS: Final = 3.0
"""How long a forced stop waits for outcomes to be written."""
FORCED_ANSWER_SECONDS: Final = 1.0
"""How long a forced stop waits for a single answer of the database."""
FORCED_CLOSE_SECONDS: Final = 0.5
"""How long a forced stop then waits for calls under way. Supervisors allow five seconds for all of it."""
EXIT_OK: Final = 0
EXIT_FORCED: Final = 1
EXIT_TASK_FAILED: Final = 2
CONNECTIONS: Final = ("claim", "settle", "pulse", "chores")
"""The database connections, each with its own thread. Components share them and add none."""


class Manager:
    """A manager, which serves one queue until asked to stop or, with ``until``, until nothing is left to do.

    ``spec`` holds the settings of the queue and what each worker gets at its start.
    """

    def __init__(
        self,
        spec: WorkerSpec,
        until: Until | None = None,
        spawner: type[Spawner] = Spawner,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        self._config = config = spec.config
        self._started_at = time.monotonic()
        self._last_loop_at = time.time()
        self._close_seconds = close_seconds
        self._is_deregistered = False
        self._has_ended = threading.Event()
        self._selector = selectors.DefaultSelector()
        self._calls = LoopCalls()
        deliver, run_delivered = self._calls.deliver, self._calls.run_delivered
        self._selector.register(self._calls.fd, selectors.EVENT_READ, lambda mask: run_delivered())
        instance = uuid.uuid4()
        remove_stale_files()
        self._presence = PresenceFile(
            instance, config.workers_count, identity_of(connections[task_database()])
        )
        listeners: dict[str, dict[str, Notified]] = {}
        if config.listen:
            listeners = {
                "claim": {CHANNEL: self._on_notified},
                "pulse": {CONTROL_CHANNEL: self._on_control},
            }
        patience = answer_seconds(config.lease_seconds)
        self._threads = {
            role: DatabaseThread(
                f"{role} {config.queue}", deliver, listeners.get(role, {}), patience, spec.schema
            )
            for role in CONNECTIONS
        }
        self._spawner = spawner(self._presence.fd, config.preload, deliver)
        resources = Resources(self._threads, self._selector, self._spawner, self._presence, instance)
        self._parts = Assembly(spec, until, resources, self._begin_to_drain)
        self._components = self._parts.components
        self._take_snapshot()

    @property
    def failed(self) -> int:
        """Number of tasks that have failed since this manager started."""
        return self._parts.settler.failed + self._parts.held_tasks.failed

    @property
    def workers_ending_seconds(self) -> float:
        """Seconds that the last worker took to exit after its last task, mostly to flush its telemetry."""
        return self._parts.pool.ending_seconds

    def run(
        self,
        serve: Callable[[Callable[[], Snapshot]], str | None] = lambda snapshot: None,
        signals: ProcessSignals | None = None,
    ) -> int:
        """Serve the queue until stopped, and return the exit code.

        The exit code is 1 if the stop was forced or a worker had another version of the library, else 2 if a
        task failed, else 0. ``serve`` is called first, with ``snapshot``; it may publish snapshots somewhere
        and return the address. The stop signals of ``signals``, including those received before, make the
        manager drain.
        """
        try:
            address = serve(self.snapshot)
            version = django_partisan.__version__
            bus.emit(ManagerStarted, self._config.queue, self._config.workers_count, version, address)
            with (signals or ProcessSignals()).forwarded_to(self._ask_to_drain):
                while not self.is_stopped:
                    self.turn()
        finally:
            unfinished = self._close()
        seconds = time.monotonic() - self._started_at
        bus.emit(ManagerStopped, self._config.queue, seconds, self._parts.settler.released, unfinished)
        if self._parts.drain.is_forced or self._parts.pool.is_outdated:
            return EXIT_FORCED  # with 0, a supervisor that restarts only after failures would not restart it
        return EXIT_TASK_FAILED if self.failed else EXIT_OK

    def turn(self, longest: float = LONGEST_WAIT_SECONDS) -> None:
        """Wait for the next event for at most ``longest`` seconds, then give each component its turn."""
        next_at = min([component.next_at() for component in self._components])
        for key, mask in self._selector.select(max(0.0, min(longest, next_at - time.monotonic()))):
            key.data(mask)
        now = time.monotonic()
        self._last_loop_at = time.time()
        for component in self._components:
            component.turn(now)
        if self._parts.drain.is_on:
            self._go_on_draining(now)

    def stop(self, timeout: float = 0.0) -> bool:
        """Ask the manager to drain or, the second time, to end by force; safe in any thread.

        Wait for its end for at most ``timeout`` seconds; return whether it has ended.
        """
        self._calls.deliver(self._parts.drain.request)
        return self._has_ended.wait(timeout)

    def snapshot(self) -> Snapshot:
        """Return the manager's state; safe in any thread.

        If the loop does not answer in time, return its last known state; ``last_loop_at`` shows its age.
        """
        self._calls.call(self._take_snapshot, LOOP_ANSWER_SECONDS)
        return self._snapshot

    @property
    def is_stopped(self) -> bool:
        """True when the stop is complete: workers have ended, outcomes are settled, the row is deleted."""
        return self._is_deregistered and (self._parts.drain.is_forced or not self._threads["pulse"].is_busy)

    @property
    def is_idle(self) -> bool:
        """True if no component has anything to do."""
        return all(component.is_idle for component in self._components)

    def _ask_to_drain(self, signal_name: str) -> None:
        self._calls.deliver(partial(self._parts.drain.request, signal_name))

    def _begin_to_drain(self) -> None:
        in_progress = sum(bool(worker.held) for worker in self._parts.pool.workers)
        bus.emit(ManagerDraining, self._config.queue, self._parts.drain.signal, in_progress)
        for component in self._components:
            component.stop()

    def _go_on_draining(self, now: float) -> None:
        if self._parts.drain.is_forced:
            self._parts.pool.kill()
        if not self._is_deregistered and (self.is_idle or self._abandons_database(now)):
            self._is_deregistered = True
            self._parts.lease.deregister()

    def _abandons_database(self, now: float) -> bool:
        """Return whether a forced stop leaves unsettled tasks to another manager, which rescues them."""
        forced_at = self._parts.drain.forced_at
        if forced_at is None or not self._parts.pool.is_empty:
            return False
        settler = self._parts.settler
        is_stuck = settler.is_delayed or not settler.is_reachable
        awaited = self._threads.values() if settler.is_idle else (self._threads["settle"],)
        is_silent = any(thread.waited(now) > FORCED_ANSWER_SECONDS for thread in awaited)
        return is_stuck or is_silent or now >= forced_at + FORCED_SETTLE_SECONDS

    def _on_notified(self, queues: set[str] | None) -> None:
        if queues is None or self._config.queue in queues:  # None: some may have been missed
            self._parts.claimer.notified()

    def _on_control(self, payloads: set[str] | None) -> None:
        if payloads is None:  # some may have been missed: listen again with the next heartbeat
            self._parts.lease.heartbeat_soon()
        self._parts.controls.notified(payloads)

    def _take_snapshot(self) -> None:
        self._snapshot = Snapshot(
            queue=self._config.queue,
            workers_configured=self._config.workers_count,
            workers=self._parts.pool.snapshots(time.monotonic()),
            buffered=len(self._parts.intake.buffer),
            buffer_limit=self._config.max_queue_size,
            unsettled=self._parts.settler.unsettled,
            draining=self._parts.drain.is_on,
            database_reachable=not self._parts.outage.is_on,
            last_loop_at=self._last_loop_at,
            last_claim_at=self._parts.claimer.last_claim_at,
            last_finished_at=self._parts.settler.last_finished_at,
            paused_seconds=self._parts.pause.seconds if self._parts.pause.is_on else None,
            limits=QueueLimits(
                self._config.max_wait_seconds,
                self._config.max_crashes,
                self._config.default_timeout_seconds,
                self._config.interrupt_grace_seconds,
            ),
        )

    def _close(self) -> tuple[int, ...]:
        """End threads and processes; return the ids of tasks that remain in process."""
        left = [row[ID] for row in self._parts.pool.held()] + self._parts.settler.ids()
        self._parts.pool.kill()
        self._spawner.close(self._close_seconds)
        seconds = FORCED_CLOSE_SECONDS if self._parts.drain.is_forced else self._close_seconds
        all_ended = end_all(self._threads.values(), seconds)
        self._selector.close()
        if self._parts.pool.is_empty:
            self._presence.remove()
        if all_ended:
            self._calls.close()
        self._has_ended.set()
        return tuple(left)
