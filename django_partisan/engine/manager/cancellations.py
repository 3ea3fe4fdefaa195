"""Carry out requests to cancel tasks: end tasks that have not started, and interrupt the runs of the others.

Cancelling inserts a request for each task that a manager holds, and notifies the managers of the queue. If
the notification is lost, the next heartbeat finds the requests. A request applies to the task, not to one
run: if the task waits again before its run is interrupted, it is ended while it waits.
"""

import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple, Protocol
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.cancelling import cancellation_for, emit
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
"""Seconds between two checks of the tasks to cancel."""
RETRY_SECONDS: Final = 0.25
"""Seconds after which the requests are read again; doubles each time, up to a third of ``LEASE_SECONDS``.

They are read again if reading failed, or if a requested task may still come to this manager.
"""


class Interrupter(Protocol):
    """An object that can interrupt runs."""

    def request(self, task_id: int, kind: str, comment: str = "") -> bool:
        """Interrupt the run of a task; return whether a worker of this manager runs it.

        This is called repeatedly for the same run.
        """


class FoundRequests(NamedTuple):
    """The requests that were read, and the tasks that were ended, each with the comment of its request."""

    requests: list[Request]
    ended: list[tuple[CancelledTask, str]]


class Cancellations(Component):
    """The component that reads the requests when notified, and cancels the tasks of this manager.

    ``identity`` returns the manager's id while it may claim, else ``None``. Cancelling continues while the
    manager drains, but does not delay its end: another manager ends tasks that still wait.
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
        self._read_at = NEVER
        self._is_reading = False
        self._has_failed = False
        self._is_to_repeat = False
        self._pause = RETRY_SECONDS
        self._longest_pause = config.lease_seconds / 3
        self._check_at = 0.0
        self._held: set[Pair] = set()
        """Requests for tasks that this manager has held since the requests were read."""

    @property
    def is_idle(self) -> bool:
        """True if the requests are neither due to be read nor being read, or if the manager drains."""
        return self.is_stopped or not (self._is_reading or self._read_at <= time.monotonic())

    def read_now(self) -> None:
        """Read the requests in the next turn."""
        self._read_at = 0.0
        self._pause = RETRY_SECONDS

    def on_heartbeat(self, has_requests: bool) -> None:
        """Read the requests in the next turn if the heartbeat found any."""
        if has_requests:
            self._read_at = 0.0

    def turn(self, now: float) -> None:
        """Read the requests if it is time; check the tasks to cancel."""
        self._next_at = NEVER
        if self._is_to_repeat:
            self._read_again(now)
        if self._requests:
            if now >= self._check_at:
                self._check_at = now + CHECK_SECONDS
                self._forget_ended(now)
                self._interrupt()
            self._next_at = self._check_at
        if self._read_at == NEVER:
            return
        manager = self._identity()
        if manager is None or self._thread.is_busy:
            return
        read_at = max(self._read_at, self._outage.retry_at)
        if now < read_at:
            self._next_at = min(self._next_at, read_at)
            return
        self._read_at, self._is_reading = NEVER, True
        call = partial(_read_requests, queue=self._queue, manager=manager)
        self._thread.submit(call, self._on_read)

    def _on_read(self, result: Any) -> None:
        self._is_reading = False
        if isinstance(result, Exception):
            self._has_failed = self._is_to_repeat = True
            self._outage.note(result)
            return
        if self._has_failed:
            self._has_failed = False
            self._outage.end()
        found: FoundRequests = result
        for task, comment in found.ended:
            emit([task], comment)
        self._requests.replace(
            {(one.task_id, one.token): one.comment for one in found.requests if one.token is not None}
        )
        self._held = self._known()
        # The other tasks are locked, held by another manager, or on their way to or from this one.
        self._is_to_repeat = len(found.requests) > len(found.ended) + len(self._held)
        self._intake.cancel_unstarted()
        self._check_at = 0.0

    def _read_again(self, now: float) -> None:
        self._is_to_repeat = False
        self._read_at = min(self._read_at, now + self._pause)
        self._pause = min(2 * self._pause, self._longest_pause)

    def _known(self) -> set[Pair]:
        """Return the requests for tasks that this manager holds according to its own state."""
        rows = self._intake.all_tasks(self._pool.held())
        return {(row[ID], row[TOKEN]) for row in rows}.intersection(self._requests.comments)

    def _forget_ended(self, now: float) -> None:
        """Remove the requests whose tasks this manager no longer holds, and read the requests again."""
        known = self._known()
        self._held |= known
        for pair in self._held - known:
            self._held.discard(pair)
            self._requests.drop(pair)
            self._read_at = now

    def _interrupt(self) -> None:
        """Interrupt the runs of the tasks to cancel; recall those tasks that a worker has not started.

        Repeating this has no effect on a run that is being interrupted, and reaches one that was missed.
        """
        for pair, comment in self._requests.comments.items():
            task_id, token = pair
            for worker in self._pool.workers:
                row = worker.held.get(task_id)
                if row is None or row[TOKEN] != token:
                    continue
                if not self._interrupter.request(task_id, CANCEL, comment):
                    worker.recall()


def _read_requests(connection: BaseDatabaseWrapper, queue: str, manager: UUID) -> FoundRequests:
    """Delete stale requests, read those for tasks of a queue, and end the tasks among them that wait."""
    delete_stale_requests(connection)
    requests = find_requests(connection, queue, manager, REQUESTS_AT_MOST)
    waiting: defaultdict[str, list[int]] = defaultdict(list)
    for request in requests:
        if request.is_waiting:
            waiting[request.comment].append(request.task_id)
    return FoundRequests(
        requests,
        [
            (task, comment)
            for comment, ids in waiting.items()
            for task in end_waiting(connection, ids, cancellation_for(comment))
        ],
    )
