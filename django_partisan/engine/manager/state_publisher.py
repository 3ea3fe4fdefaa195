"""Publish the runs of a manager's workers, and its totals, in the manager's row.

Each heartbeat writes them in its own statement. While a run lasts longer than ``LONG_SECONDS``, another
statement writes them every ``PUBLISH_SECONDS``, so that a run that hangs, and a stop that waits for it,
show up at once.
"""

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.db import Error

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.presence import PresenceFile
from django_partisan.sql import manager_state
from django_partisan.sql.claiming import PROCESSOR
from django_partisan.sql.manager_state import Run

CHECK_SECONDS: Final = 0.5
"""How often the workers' pages are read while workers hold tasks; this costs no query."""
LONG_SECONDS: Final = 1.0
PUBLISH_SECONDS: Final = 2.0


class StatePublisher(Component):
    """The component that publishes what the workers of ``pool`` run; ``totals`` returns the other numbers.

    ``identity`` returns the id of the manager's row, or ``None`` while the row is not confirmed.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        outage: Outage,
        pool: Pool,
        presence: PresenceFile,
        totals: Callable[[], dict[str, int]],
        identity: Callable[[], UUID | None],
    ) -> None:
        self._config = config
        self._thread = thread
        self._outage = outage
        self._pool = pool
        self._presence = presence
        self._totals = totals
        self._identity = identity
        self._check_at = 0.0
        self._published_at = 0.0

    def state(self) -> str:
        """Return the state to publish now, as JSON text, for the caller to write."""
        now = self._published_at = time.monotonic()
        workers = self._pool.workers
        totals = {
            "workers_configured": self._config.workers_count,
            "workers": len(workers),
            "busy": sum(bool(worker.held) for worker in workers),
            **self._totals(),
        }
        return manager_state.manager_state(self._runs(now), totals, self.is_stopped)

    def turn(self, now: float) -> None:
        """Publish the state if a run has lasted long and a write is due."""
        if now < self._check_at:
            return
        self._check_at = now + CHECK_SECONDS
        self._next_at = NEVER if self._pool.is_idle else self._check_at
        if now < self._published_at + PUBLISH_SECONDS or self._thread.is_busy or now < self._outage.retry_at:
            return
        manager = self._identity()
        if manager is not None and any(run.seconds > LONG_SECONDS for run in self._runs(now)):
            publish = partial(manager_state.publish, manager=manager, state=self.state())
            self._thread.submit(publish, _ignore_lost)

    def _runs(self, now: float) -> Iterator[Run]:
        for worker in self._pool.workers:
            if worker.held:
                page = self._presence.page(worker.slot)
                row = worker.held.get(page.task_id)
                if row is not None:
                    seconds = max(0.0, now - page.since)
                    yield Run(page.task_id, row[PROCESSOR], worker.pid, worker.slot, seconds)


def _ignore_lost(result: Any) -> None:
    """Ignore a failed write, because the next heartbeat writes the state."""
    if isinstance(result, Exception) and not isinstance(result, Error):
        raise result
