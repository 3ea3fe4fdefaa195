"""The manager: a loop over its components, which claim, dispatch, settle, and keep the workers running.

The loop waits only in its selector: database calls run in threads of their own, one for each
connection, and another thread starts processes.
"""

import selectors
import threading
import time
import uuid
from collections.abc import Callable
from typing import Final

import django_partisan
from django_partisan.engine.forkserver.spawner import Spawner
from django_partisan.engine.manager.answer_watch import AnswerWatch
from django_partisan.engine.manager.claimer import Claimer
from django_partisan.engine.manager.component import Component
from django_partisan.engine.manager.database_thread import DatabaseThread, answer_seconds, end_all
from django_partisan.engine.manager.dispatcher import Dispatcher
from django_partisan.engine.manager.drain import Drain, handling_signals
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.lease import Lease, LeaseOwner
from django_partisan.engine.manager.loop_calls import LoopCalls
from django_partisan.engine.manager.outage import ClaimOutage, Outage, SharedOutage
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.promoter import Promoter
from django_partisan.engine.manager.reconciliation import Reconciliation
from django_partisan.engine.manager.run_until import RunUntil, Until
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.manager.sharing import Sharing
from django_partisan.engine.manager.suspects import Suspects
from django_partisan.engine.presence import PresenceFile, sweep
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.sql.claiming import ID
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import ManagerDraining, ManagerStarted, ManagerStopped, Snapshot

LONGEST_WAIT_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 5.0
LOOP_ANSWER_SECONDS: Final = 0.5
FORCED_SETTLE_SECONDS: Final = 3.0
"""How long a forced stop waits until all is written."""
FORCED_ANSWER_SECONDS: Final = 1.0
"""How long it waits for one answer of the database."""
FORCED_CLOSE_SECONDS: Final = 0.5
"""How long it waits then for calls under way. Whoever stops managers grants five seconds in all."""
EXIT_OK: Final = 0
EXIT_FORCED: Final = 1
EXIT_TASK_FAILED: Final = 2
CONNECTIONS: Final = ("claim", "settle", "pulse", "chores")
"""One thread and one connection for each; a component brings none of its own."""


class Manager:
    """Serve one queue until asked to stop, or ``until`` there is nothing left to do.

    ``spec`` holds the settings of the queue, and what every worker gets at its start.
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
        sweep()
        self._presence = PresenceFile(instance, config.workers_count)
        listeners = {"pulse": self._on_notified} if config.listen else {}
        patience = answer_seconds(config.lease_seconds)
        self._threads = {
            role: DatabaseThread(f"{role} {config.queue}", deliver, listeners.get(role), patience)
            for role in CONNECTIONS
        }
        self._spawner = spawner(self._presence.fd, config.preload, deliver)
        self._components = self._assemble(spec, instance, until)
        self._take_snapshot()

    def _assemble(self, spec: WorkerSpec, instance: uuid.UUID, until: Until | None) -> list[Component]:
        """Make the components, and return them in the order of their turns."""
        config, threads = self._config, self._threads
        self._outage = SharedOutage(config.queue)
        outage = ClaimOutage(self._outage)
        self._drain = Drain(config.stop_timeout_seconds, self._begin_to_drain)
        self._promoter = Promoter(config, threads["chores"], outage)
        settle_outage = Outage(self._outage)
        self._settler = Settler(config, threads["settle"], settle_outage, requeued=self._promoter.expect)
        self._intake = Intake(config, self._settler, self._drain)
        self._pool = Pool(self._intake, self._selector, self._spawner, self._presence, spec)
        sharing = Sharing(
            self._intake,
            self._pool,
            self._settler,
            ask=lambda: self._lease.heartbeat_soon(),
            longest_pause=config.lease_seconds / 3,
        )
        self._dispatcher = Dispatcher(
            config,
            self._intake,
            self._pool,
            self._settler,
            self._presence,
            sharing,
            may_start=lambda: self._lease.is_held,
        )
        self._reconciliation = Reconciliation(
            config,
            threads["pulse"],
            self._intake,
            self._pool.held,
            identity=lambda: self._lease.id if self._lease.is_held else None,
        )
        owner = LeaseOwner(
            known=lambda: set(self._intake.unsettled_ids(self._pool.held())),
            extended=self._presence.extend_lease,
            rescued=self._intake.on_rescued,
            revoked=self._on_revoked,
            met=sharing.on_heartbeat,
        )
        self._lease = Lease(config, threads["pulse"], instance, outage, self._reconciliation, owner)
        self._claimer = Claimer(
            config, threads["claim"], outage, self._promoter, self._reconciliation, self._dispatcher
        )
        suspects = Suspects(
            config, threads["chores"], outage, self._intake, self._pool, may_start=lambda: self._lease.is_held
        )
        holders: list[Component] = [self._pool, suspects, self._dispatcher, sharing, self._settler]
        finders: list[Component] = [self._lease, self._reconciliation, self._promoter, self._claimer]
        ending = [RunUntil(until, self._drain, self._promoter, finders, holders)] if until else []
        return [AnswerWatch(threads.values()), *holders, *finders, *ending, self._drain]

    @property
    def failed(self) -> int:
        """How many tasks have failed so far."""
        return self._settler.failed

    def run(self, serve: Callable[[Callable[[], Snapshot]], str | None] = lambda snapshot: None) -> int:
        """Serve until stopped; return the exit code: 0, 1 after a forced stop, 2 if a task failed.

        ``serve`` is called first; it may serve the manager's snapshots somewhere and return the address.
        """
        try:
            address = serve(self.snapshot)
            version = django_partisan.__version__
            bus.emit(ManagerStarted, self._config.queue, self._config.workers_count, version, address)
            with handling_signals(self._drain, self._calls.deliver):
                while not self.is_stopped:
                    self.turn()
        finally:
            unfinished = self._close()
        seconds = time.monotonic() - self._started_at
        bus.emit(ManagerStopped, self._config.queue, seconds, self._settler.released, unfinished)
        if self._drain.is_forced:
            return EXIT_FORCED
        return EXIT_TASK_FAILED if self.failed else EXIT_OK

    def turn(self, longest: float = LONGEST_WAIT_SECONDS) -> None:
        """Wait for whatever comes first, at most ``longest`` seconds, and do what is to be done."""
        next_at = min(component.next_at() for component in self._components)
        for key, mask in self._selector.select(max(0.0, min(longest, next_at - time.monotonic()))):
            key.data(mask)
        now = time.monotonic()
        self._last_loop_at = time.time()
        for component in self._components:
            component.turn(now)
        if self._drain.is_on:
            self._go_on_draining(now)

    def stop(self, timeout: float = 0.0) -> bool:
        """Ask from any thread to drain, and the second time to end by force; return whether it has ended.

        Waits at most ``timeout`` seconds for the end.
        """
        self._calls.deliver(self._drain.ask)
        return self._has_ended.wait(timeout)

    def snapshot(self) -> Snapshot:
        """Return the manager's state, from any thread.

        A loop that does not answer in time is shown as it last was: ``last_loop_at`` shows since when.
        """
        self._calls.call(self._take_snapshot, LOOP_ANSWER_SECONDS)
        return self._snapshot

    @property
    def is_stopped(self) -> bool:
        """True when nothing is left to do: workers ended, outcomes settled, our row deleted."""
        return self._is_deregistered and (self._drain.is_forced or not self._threads["pulse"].is_busy)

    @property
    def is_idle(self) -> bool:
        """True if no component has anything to do."""
        return all(component.is_idle for component in self._components)

    def _begin_to_drain(self) -> None:
        in_progress = sum(bool(worker.held) for worker in self._pool.workers)
        bus.emit(ManagerDraining, self._config.queue, self._drain.signal, in_progress)
        for component in self._components:
            component.stop()

    def _go_on_draining(self, now: float) -> None:
        if self._drain.is_forced:
            self._pool.kill()
        if not self._is_deregistered and (self.is_idle or self._gives_up_on_database(now)):
            self._is_deregistered = True
            self._lease.deregister()

    def _gives_up_on_database(self, now: float) -> bool:
        """Return whether a forced stop leaves what is unsettled to the manager that rescues it."""
        forced_at = self._drain.forced_at
        if forced_at is None or not self._pool.is_empty:
            return False
        is_stuck = self._settler.is_held_up or not self._settler.is_reachable
        is_silent = any(thread.waited(now) > FORCED_ANSWER_SECONDS for thread in self._threads.values())
        return is_stuck or is_silent or now >= forced_at + FORCED_SETTLE_SECONDS

    def _on_notified(self, queues: set[str] | None) -> None:
        if queues is None:  # some may be missed: listen again with the next heartbeat, and claim
            self._lease.heartbeat_soon()
            self._claimer.notified()
        elif self._config.queue in queues:
            self._claimer.notified()

    def _on_revoked(self, ids: set[int]) -> int:
        self._presence.begin_epoch()
        self._claimer.renew()
        self._reconciliation.renew()
        return self._intake.revoke(ids, self._pool.workers)

    def _take_snapshot(self) -> None:
        self._snapshot = Snapshot(
            queue=self._config.queue,
            workers_configured=self._config.workers_count,
            workers=self._pool.seen(time.monotonic()),
            buffered=len(self._intake.buffer),
            buffer_limit=self._config.max_queue_size,
            unsettled=self._settler.unsettled,
            draining=self._drain.is_on,
            database_reachable=not self._outage.is_on,
            last_loop_at=self._last_loop_at,
            last_claim_at=self._claimer.last_claim_at,
            last_finished_at=self._settler.last_finished_at,
        )

    def _close(self) -> tuple[int, ...]:
        """End threads and processes; return the ids of tasks that are left in process."""
        left = [row[ID] for row in self._pool.held()] + self._settler.ids()
        self._pool.kill()
        self._spawner.close(self._close_seconds)
        seconds = FORCED_CLOSE_SECONDS if self._drain.is_forced else self._close_seconds
        all_ended = end_all(self._threads.values(), seconds)
        self._selector.close()
        if self._pool.is_empty:
            self._presence.remove()
        if all_ended:
            self._calls.close()
        self._has_ended.set()
        return tuple(left)
