"""Which tasks are ours when an answer of the database was lost, or our lease was.

A claim whose answer is lost may have been committed: the rows are ours by the table, and this
manager does not know them. So nothing is claimed until the database has told which rows are ours.

After a lost lease, another manager may have taken over tasks whose runs go on here. Such a run is
let finish; its claim token keeps its outcome from the row. If the task returns to us meanwhile, it
waits until the run has ended, because a task never runs twice at the same time in one manager.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from uuid import UUID

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.pool import Pool
from django_partisan.sql import leasing

RETRY_SECONDS: Final = 1.0


class Reconciliation(Component):
    """Allow claims only while it is certain which tasks are ours; find those that are not known here.

    ``identity`` returns the id of this manager's row, or ``None`` while the row is not confirmed.
    ``is_claiming`` tells whether a claim is under way, whose rows are not known yet. While the manager
    drains, what is found is released, but an answer that is missing does not hold up the end.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        outage: Outage,
        intake: Intake,
        pool: Pool,
        identity: Callable[[], UUID | None],
        is_claiming: Callable[[], bool],
    ) -> None:
        self._queue = config.queue
        self._thread = thread
        self._outage = outage
        self._intake = intake
        self._pool = pool
        self._identity = identity
        self._is_claiming = is_claiming
        self._in_doubt = False
        self._ask_at = 0.0

    @property
    def claiming_id(self) -> UUID | None:
        """The manager's id to claim under; ``None`` while nothing may be claimed."""
        return None if self._in_doubt else self._identity()

    @property
    def is_idle(self) -> bool:
        """True if it is certain which tasks are ours."""
        return self.is_stopped or not self._in_doubt

    def turn(self, now: float) -> None:
        """Ask which tasks are ours if that is in doubt."""
        self._next_at = NEVER
        manager = self._identity()
        if not self._in_doubt or manager is None:
            return
        if now < self._ask_at:
            self._next_at = self._ask_at
        elif not self._thread.is_busy and not self._is_claiming():
            known = self._intake.known_ids(self._pool.held())
            ask = partial(leasing.claim_unknown, queue=self._queue, manager=manager, known=known)
            self._thread.submit(ask, self._on_answered)

    def doubt(self) -> None:
        """Note that an answer was lost that may have made tasks ours."""
        self._in_doubt = True

    def on_heartbeat_failed(self, error: Exception) -> None:
        """Note that the heartbeat was not answered; claims that wait for an answer count as failing."""
        if self._in_doubt and not self.is_stopped:
            self._outage.note(error)
        self.doubt()

    def _on_answered(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._ask_at = time.monotonic() + RETRY_SECONDS
            self.on_heartbeat_failed(result)
        else:
            self._in_doubt = False
            if not self._outage.has_paused:  # only heartbeats failed: no claim may have room to end it
                self._outage.end()
            self._intake.on_claimed(result)
