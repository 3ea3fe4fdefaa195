"""Create the components of a manager and connect them.

A new component needs one module, and its lines here.
"""

import selectors
import uuid
from collections.abc import Callable
from typing import NamedTuple

from django_partisan import registry
from django_partisan.engine.forkserver.spawner import Spawner
from django_partisan.engine.manager.cancellations import Cancellations
from django_partisan.engine.manager.claim_events import ClaimEvents
from django_partisan.engine.manager.claim_tokens import ClaimTokens
from django_partisan.engine.manager.claimer import Claimer
from django_partisan.engine.manager.component import Component
from django_partisan.engine.manager.connection_watch import ConnectionWatch
from django_partisan.engine.manager.controls import Controls, TableReader
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.dispatcher import Dispatcher
from django_partisan.engine.manager.drain import Drain
from django_partisan.engine.manager.held_tasks import HeldTasks
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.interruptions import Interruptions
from django_partisan.engine.manager.known_processors import KnownProcessors
from django_partisan.engine.manager.lease import Lease, LeaseOwner
from django_partisan.engine.manager.outage import ClaimOutage, Outage, SharedOutage
from django_partisan.engine.manager.pauses import Pauses
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.promoter import Promoter
from django_partisan.engine.manager.pruner import Pruner
from django_partisan.engine.manager.queue_pause import QueuePause
from django_partisan.engine.manager.reconciliation import Reconciliation
from django_partisan.engine.manager.reports import Reports
from django_partisan.engine.manager.run_until import RunUntil, Until
from django_partisan.engine.manager.schedule_duties import ScheduleDuties
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.manager.sharing import Sharing
from django_partisan.engine.manager.state_publisher import StatePublisher
from django_partisan.engine.manager.suspects import Suspects
from django_partisan.engine.manager.time_limits import TimeLimits
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.sql.claiming import ID
from django_partisan.sql.leasing import HeartbeatResult


class Resources(NamedTuple):
    """Resources that the components of one manager share; ``instance`` is the name of its presence file."""

    threads: dict[str, DatabaseThread]
    selector: selectors.BaseSelector
    spawner: Spawner
    presence: PresenceFile
    instance: uuid.UUID


class Assembly:
    """The components of one manager; ``components`` lists them in the order of their turns."""

    def __init__(
        self,
        spec: WorkerSpec,
        until: Until | None,
        resources: Resources,
        begin_to_drain: Callable[[], None],
    ) -> None:
        self._config = config = spec.config
        self._threads = threads = resources.threads
        self._presence = presence = resources.presence
        self.outage = SharedOutage(config.queue)
        self._claim_outage = outage = ClaimOutage(self.outage)
        self.drain = Drain(config.stop_timeout_seconds, begin_to_drain)
        processors = KnownProcessors(registry.definitions)
        self.promoter = Promoter(config, threads["chores"], outage, processors)
        self.pause = pause = QueuePause()
        self.settler = Settler(
            config,
            threads["settle"],
            Outage(self.outage),
            requeued=self.promoter.expect,
            identity=lambda: self.lease.id,
            pause=pause,
        )
        self.tokens = ClaimTokens()
        self.intake = Intake(config, self.settler, self.drain, self.tokens, processors, pause)
        self.pool = Pool(
            self.intake,
            Reports(config.queue, self.settler, processors, self.intake),
            resources.selector,
            resources.spawner,
            presence,
            spec._replace(registered=frozenset(registry.definitions)),
            self._on_code_replaced,
        )
        self._sharing = Sharing(
            self.intake,
            self.pool,
            self.settler,
            ask=lambda: self.lease.heartbeat_soon(),
            longest_pause=config.lease_seconds / 3,
        )
        dispatcher = Dispatcher(
            config, self.intake, self.pool, self.settler, presence, self._sharing, self._may_start
        )
        limits = TimeLimits(config.default_timeout_seconds)
        self.interruptions = Interruptions(config, self.pool, presence, limits)
        suspects = Suspects(config, threads["chores"], outage, self.intake, self.pool, self._may_start)
        self.reconciliation = Reconciliation(
            config, threads["claim"], outage, self.tokens, self.intake, self.pool, self._claiming_id
        )
        self.schedules = ScheduleDuties(
            config.queue, threads["chores"], outage, self._claiming_id, self._on_enqueued
        )
        self.state_publisher = StatePublisher(
            config, threads["pulse"], outage, self.pool, presence, self._totals, self._claiming_id
        )
        self.lease = self._lease(resources.instance)
        claim_events = ClaimEvents(config.queue)
        self.claimer = Claimer(
            config,
            threads["claim"],
            outage,
            self.promoter,
            self.tokens,
            dispatcher,
            claim_events,
            self._id_if_compared,
            pause,
        )
        self.pauses = Pauses(
            config.queue,
            threads["pulse"],
            pause,
            self.intake,
            self.pool,
            self.settler,
            presence,
            resumed=self.claimer.notified,
        )
        self.held_tasks = HeldTasks(
            config, threads["chores"], outage, processors, self._claiming_id, self.claimer.notified
        )
        self.cancellations = Cancellations(
            config,
            threads["chores"],
            outage,
            self.intake,
            self.pool,
            self.interruptions,
            self._claiming_id,
        )
        holders: list[Component] = [self.pool, suspects, dispatcher, self._sharing, self.settler]
        finders: list[Component] = [
            self.lease,
            self.pauses,
            self.state_publisher,
            self.reconciliation,
            self.cancellations,
            self.promoter,
            self.held_tasks,
            self.claimer,
        ]
        readers: dict[str, TableReader] = {
            "cancel": self.cancellations,
            "pause": self.pauses,
            "schedule": self.schedules,
        }
        self.controls = Controls(config.queue, spec.schema, readers)
        ending = [RunUntil(until, self.drain, self.promoter, pause, finders, holders)] if until else []
        pruner = Pruner(config, threads["chores"], outage, self._claiming_id)
        watch = ConnectionWatch(threads.values(), threads["pulse"], self.reconciliation.require_comparison)
        # These come first, because a task that was just claimed or enqueued waits for them. The claimer is
        # before the dispatcher: in a backlog, the next claim is sent first, because it takes longer.
        claiming: list[Component] = [watch, self.reconciliation, self.claimer]
        first: list[Component] = [self.pool, suspects, *claiming, dispatcher, claim_events]
        others = [
            *holders,
            self.interruptions,
            *finders,
            *self.schedules.components,
            pruner,
            *ending,
            self.drain,
        ]
        self.components = [*first, *(one for one in others if one not in first)]

    def _lease(self, instance: uuid.UUID) -> Lease:
        owner = LeaseOwner(
            held_ids=lambda: {row[ID] for row in self.intake.unsettled(self.pool.held())},
            extended=self._presence.extend_lease,
            rescued=self.intake.on_rescued,
            revoked=self._on_revoked,
            paused=lambda is_paused: self.pauses.on_heartbeat(is_paused),
            answered=self._on_heartbeat,
            state=lambda: self.state_publisher.state(),
        )
        thread = self._threads["pulse"]
        config, outage, schedules = self._config, self._claim_outage, self.schedules.fingerprints
        return Lease(config, thread, instance, outage, self.tokens, owner, schedules=schedules)

    def _on_enqueued(self, queues: set[str]) -> None:
        """Claim at once if ticks enqueued tasks in this manager's queue."""
        if self._config.queue in queues and not self.drain.is_on:
            self.claimer.notified()

    def _on_code_replaced(self) -> None:
        if not self.drain.is_on:
            self.drain.request()

    def _may_start(self) -> bool:
        return self.lease.is_held

    def _claiming_id(self) -> uuid.UUID | None:
        return self.lease.id if self.lease.is_held else None

    def _id_if_compared(self) -> uuid.UUID | None:
        return None if self.reconciliation.must_compare else self._claiming_id()

    def _totals(self) -> dict[str, int]:
        """Return the counts that the manager publishes in its row."""
        return {
            "buffered": len(self.intake.buffer),
            "unsettled": self.settler.unsettled,
            "failed": self.settler.failed + self.held_tasks.failed,
        }

    def _on_heartbeat(self, found: HeartbeatResult) -> None:
        self._sharing.on_heartbeat(found.others)
        self.reconciliation.on_heartbeat(found.claimed)
        self.cancellations.on_heartbeat(found.has_cancel_requests)
        self.held_tasks.on_heartbeat(found.has_held)
        self.schedules.on_heartbeat(found.schedules)

    def _on_revoked(self, ids: set[int]) -> int:
        """Continue under a renewed lease, without the tasks of ``ids``; return how many tasks were held."""
        self._presence.begin_epoch()
        self.claimer.renew()
        self.reconciliation.compare_all()
        return self.intake.revoke(ids, self.pool.workers)
