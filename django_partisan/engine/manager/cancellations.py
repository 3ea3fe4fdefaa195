"""Carry out requests to cancel tasks: end those that have not started, and interrupt the runs of the others.

Cancelling inserts a request for each task that a manager holds, and notifies the managers of the queue. If
the notification is lost, the next heartbeat finds the requests. A request applies to the task, not to one
run: if the task waits again meanwhile, it is ended then.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.cancelling import cancelling_for, emit
from django_partisan.config.queues import QueueConfig
from django_partisan.engine.interrupting import CANCEL
from django_partisan.engine.manager.cancel_requests import Pair
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.pool import Pool
from django_partisan.sql.cancelling import (
    CancelledTask,
    Request,
    delete_stale_requests,
    end_waiting,
    find_requests,
)
from django_partisan.sql.claiming import ID, TOKEN

REQUESTS_AT_MOST: Final = 5000
CHECK_SECONDS: Final = 0.05
"""How often tasks whose end is requested are checked."""
RETRY_SECONDS: Final = 0.25
"""When to repeat a look that failed, or after which a task may still come to this manager.

The time doubles with each such look.
"""


class Interrupter(Protocol):
    """Who interrupts runs."""

    def request(self, task_id: int, kind: str, comment: str = "") -> bool:
        """Have the run of a task interrupted; return whether a worker of this manager runs it.

        It is asked for each run more than once.
        """


class Look(NamedTuple):
    """The result of a look: the requests, and the tasks that were ended, with the comment of each."""

    requests: list[Request]
    ended: list[tuple[CancelledTask, str]]


class Cancellations(Component):
    """Look for requests when notified, and end the requested tasks of this manager.

    ``identity`` returns the id under which the manager may claim. This continues while the manager
    drains, but does not delay its end: another manager ends the waiting tasks then.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        outage: Outage,
        intake: Intake,
        pool: Pool,
        interrupter: Interrupter,
        identity: Callable[[], UUID | None],
    ) -> None:
        self._queue = config.queue
        self._thread = thread
        self._outage = outage
        self._intake = intake
        self._requests = intake.cancel_requests
        self._pool = pool
        self._interrupter = interrupter
        self._identity = identity
        self._look_at = NEVER
        self._is_looking = False
        self._has_failed = False
        self._is_to_repeat = False
        self._pause = RETRY_SECONDS
        self._longest_pause = config.lease_seconds / 3
        self._check_at = 0.0
        self._held: set[Pair] = set()
        """Requests whose tasks this manager was seen to hold."""

    @property
    def is_idle(self) -> bool:
        """True if no look is due or under way."""
        return self.is_stopped or not (self._is_looking or self._look_at <= time.monotonic())

    def look_now(self) -> None:
        """Look in the next turn."""
        self._look_at = 0.0
        self._pause = RETRY_SECONDS

    def on_heartbeat(self, has_requests: bool) -> None:
        """Look if the heartbeat has found requests."""
        if has_requests:
            self._look_at = 0.0

    def turn(self, now: float) -> None:
        """Look if it is time; check the tasks whose end is requested."""
        self._next_at = NEVER
        if self._is_to_repeat:
            self._look_again(now)
        if self._requests:
            if now >= self._check_at:
                self._check_at = now + CHECK_SECONDS
                self._forget_ended(now)
                self._interrupt()
            self._next_at = self._check_at
        if self._look_at == NEVER:
            return
        manager = self._identity()
        if manager is None or self._thread.is_busy:
            return
        look_at = max(self._look_at, self._outage.over_at)
        if now < look_at:
            self._next_at = min(self._next_at, look_at)
            return
        self._look_at, self._is_looking = NEVER, True
        look = partial(_look, queue=self._queue, manager=manager)
        self._thread.submit(look, self._on_looked)

    def _on_looked(self, result: Any) -> None:
        self._is_looking = False
        if isinstance(result, Exception):
            self._has_failed = self._is_to_repeat = True
            self._outage.note(result)
            return
        if self._has_failed:
            self._has_failed = False
            self._outage.end()
        look: Look = result
        for task, comment in look.ended:
            emit([task], comment)
        self._requests.replace(
            {(one.task_id, one.token): one.comment for one in look.requests if one.token is not None}
        )
        self._held = self._known()
        # The others are locked, held elsewhere, or on their way to or from this manager.
        self._is_to_repeat = len(look.requests) > len(look.ended) + len(self._held)
        self._intake.cancel_unstarted()
        self._check_at = 0.0

    def _look_again(self, now: float) -> None:
        self._is_to_repeat = False
        self._look_at = min(self._look_at, now + self._pause)
        self._pause = min(2 * self._pause, self._longest_pause)

    def _known(self) -> set[Pair]:
        """Return the requests for tasks that this manager holds, by what is known here."""
        rows = self._intake.known(self._pool.held())
        return {(row[ID], row[TOKEN]) for row in rows}.intersection(self._requests.comments)

    def _forget_ended(self, now: float) -> None:
        """Forget the requests whose tasks this manager no longer holds, and look for them again."""
        known = self._known()
        self._held |= known
        for pair in self._held - known:
            self._held.discard(pair)
            self._requests.drop(pair)
            self._look_at = now

    def _interrupt(self) -> None:
        """Have the requested runs interrupted; recall the tasks that a worker has not started.

        To ask again for the same run changes nothing, and reaches one that was forgotten.
        """
        for pair, comment in self._requests.comments.items():
            task_id, token = pair
            for worker in self._pool.workers:
                row = worker.held.get(task_id)
                if row is None or row[TOKEN] != token:
                    continue
                if not self._interrupter.request(task_id, CANCEL, comment):
                    worker.recall()


def _look(connection: BaseDatabaseWrapper, queue: str, manager: UUID) -> Look:
    """Delete stale requests, find those for tasks of a queue, and end the tasks that wait."""
    delete_stale_requests(connection)
    requests = find_requests(connection, queue, manager, REQUESTS_AT_MOST)
    waiting: defaultdict[str, list[int]] = defaultdict(list)
    for request in requests:
        if request.is_waiting:
            waiting[request.comment].append(request.task_id)
    return Look(
        requests,
        [
            (task, comment)
            for comment, ids in waiting.items()
            for task in end_waiting(connection, ids, cancelling_for(comment))
        ],
    )
