"""Claim due tasks and hand them to the dispatcher; publish whether the manager sleeps.

While there is a backlog, one claim follows another. When a claim returns fewer tasks than its limit, the
promoter checks whether any task is due; if none is, the manager publishes that it sleeps, so that ``delay()``
wakes it. Nothing is claimed from a paused queue.
"""

import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config.queues import QueueConfig
from django_partisan.engine import boot_clock
from django_partisan.engine.manager.batch_limit import BatchLimit
from django_partisan.engine.manager.claim_cursor import ClaimCursor
from django_partisan.engine.manager.claim_tokens import ClaimTokens
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.dispatcher import Dispatcher
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.promoter import Promoter
from django_partisan.engine.manager.queue_pause import QueuePause
from django_partisan.sql import claiming
from django_partisan.sql.claiming import CONTEXT, ID, TaskRow
from django_partisan.sql.session import answer_seconds
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import ClaimErrored, PollFoundNothing, TasksClaimed

AWAKE_AFTER_FULL_CLAIMS: Final = 3
EMITTED_IDS: Final = 100


class NextStep(Enum):
    """The next step of the claimer."""

    CLAIM = "tasks may be due: claim when there is room"
    CHECK = "the last claim returned fewer tasks than its limit: wait for the promoter's answer"
    REST = "nothing was due: wait for a notification, or for the promoter"


class _SentAt(NamedTuple):
    """When a claim was sent, by the monotonic clock and by the boot clock, which leases and expiries use."""

    at: float
    boot_at: float


class Claimer(Component):
    """The component that claims tasks of one queue for the dispatcher, over one connection.

    ``identity`` returns the manager's id while it may claim, else ``None``.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        outage: Outage,
        promoter: Promoter,
        tokens: ClaimTokens,
        dispatcher: Dispatcher,
        identity: Callable[[], UUID | None],
        pause: QueuePause,
    ) -> None:
        self._config = config
        self._thread = thread
        self._outage = outage
        self._promoter = promoter
        self._tokens = tokens
        self._dispatcher = dispatcher
        self._identity = identity
        self._pause = pause
        self._next_step = NextStep.CLAIM
        self._cursor = ClaimCursor()
        self._is_asleep = False
        self._full_claims = 0
        self._was_empty = False
        self._answered_at = 0.0
        self._claims = 0
        self._limit = BatchLimit(max(config.max_queue_size, config.workers_count))
        self.last_claim_at: float | None = None
        """Unix time of the last answered claim, or of the last poll by an idle or paused manager."""

    @property
    def is_idle(self) -> bool:
        """True if nothing was due or nothing may be claimed, and no call is under way."""
        claims_nothing = self.is_stopped or self._pause.is_on
        return not self._thread.is_busy and (claims_nothing or self._next_step is NextStep.REST)

    def turn(self, now: float) -> None:
        """Start the next call, if any is needed."""
        self._next_at = NEVER
        if self.is_stopped or self._thread.is_busy:
            return
        if self._pause.is_on:
            self._rest_while_paused()
            return
        self._use_check()
        if now < self._outage.retry_at:
            self._next_at = self._outage.retry_at
        elif self._next_step is NextStep.CLAIM or self._outage.is_on:  # only an answer ends an outage
            self._claim_if_possible(now)
        elif self._next_step is NextStep.REST and self._config.listen and not self._is_asleep:
            self._publish(asleep=True)

    def notified(self) -> None:
        """Claim next, from the start of the queue, because a task may have been enqueued."""
        self._next_step = NextStep.CLAIM
        self._cursor.reset()

    def renew(self) -> None:
        """Claim again after the lease was renewed; a new row does not have ``sleeping`` set."""
        self._is_asleep = False
        self._next_step = NextStep.CLAIM

    def _rest_while_paused(self) -> None:
        """Publish once that the manager does not sleep, so that new tasks do not wake it."""
        if self._promoter.take_check() is not None:
            self.last_claim_at = time.time()
        if self._outage.has_paused:  # only an answer ends an outage, and no claim is sent
            self._promoter.check_soon()
        elif self._is_asleep:
            self._publish(asleep=False)

    def _use_check(self) -> None:
        check = self._promoter.take_check()
        if check is None:
            return
        is_fresh = self._promoter.check_began_at >= self._answered_at
        if check.any_due and (check.promoted or not self._was_empty):
            self._next_step = NextStep.CLAIM
        elif is_fresh:
            if self._next_step is NextStep.CHECK:
                self._next_step = NextStep.REST
            elif self._next_step is NextStep.REST:
                self._record_empty_poll()
            if check.any_due:  # but other transactions lock it: claiming again at once would be a busy loop
                self._promoter.check_soon()
        if is_fresh:
            self._was_empty = False

    def _record_empty_poll(self) -> None:
        self.last_claim_at = time.time()
        bus.emit(PollFoundNothing, self._config.queue)

    def _claim_if_possible(self, now: float) -> None:
        manager = self._identity()
        room = self._dispatcher.room() if manager is not None else 0
        if manager is None or room <= 0:
            return
        if self._thread.needs_connection:  # reconnect; Reconciliation compares held tasks before the claim
            self._thread.submit(_connect, self._on_connected)
            return
        if self._is_asleep and self._full_claims >= AWAKE_AFTER_FULL_CLAIMS:
            self._publish(asleep=False)
            return
        room = min(room, self._limit.rows)
        behind = self._cursor.start(now)
        queue = self._config.queue
        token = self._tokens.draw()
        claim: Callable[[BaseDatabaseWrapper], Any] = partial(
            claiming.claim,
            queue=queue,
            manager=manager,
            token=token,
            limit=room,
            behind=behind,
            without=self._promoter.left_to_others,
        )
        sent = _SentAt(now, boot_clock.now())
        self._claims += 1
        if self._claims % self._config.checks_before_cleanup == 0:
            claim = partial(_check_connection_first, claim)
        self._thread.submit(claim, partial(self._on_claimed, sent, token, room, behind is None))

    def _on_claimed(self, sent: _SentAt, token: int, limit: int, is_from_start: bool, result: Any) -> None:
        if isinstance(result, Exception):
            self._tokens.failed(token)
            is_early = time.monotonic() - sent.at < answer_seconds(self._config.lease_seconds)
            if error := self._limit.judge(result, limit, is_early):
                self._fail(error)
            else:  # repeat the claim at once, for fewer tasks
                bus.emit(ClaimErrored, self._config.queue)
            return
        self._limit.finished(limit)
        self._outage.end()
        self.last_claim_at = time.time()
        if not self._tokens.answered(token):
            return
        rows: list[TaskRow] = result
        seconds = time.monotonic() - sent.at
        self._cursor.claimed(seconds, is_from_start)
        if bus.wanted(TasksClaimed):
            contexts = tuple(row[CONTEXT] for row in rows if row[CONTEXT] is not None)
            ids = tuple(row[ID] for row in rows[:EMITTED_IDS])
            bus.emit(TasksClaimed, self._config.queue, len(rows), ids, seconds, contexts)
        if len(rows) >= limit:
            self._full_claims += 1
            self._cursor.move_behind(rows[-1])
        else:
            self._cursor.reset()
            if is_from_start:  # else more may be due before the last row claimed
                self._full_claims = 0
                self._was_empty = not rows
                self._next_step = NextStep.CHECK
                self._answered_at = time.monotonic()
                self._promoter.check_now()
        if rows:
            self._dispatcher.take(rows, sent.boot_at)

    def _on_connected(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._fail(result)

    def _publish(self, asleep: bool) -> None:
        manager = self._identity()
        if manager is None:
            return
        self._is_asleep = asleep
        call = partial(claiming.set_sleeping, manager=manager, sleeping=asleep)
        self._thread.submit(call, self._on_published)

    def _on_published(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._is_asleep = False  # the row may still have it set: then notifications come too often
            self._fail(result)
        elif self._is_asleep:
            # An insert that read our row before this update has not notified us: poll two more times.
            self._full_claims = 0
            self._promoter.check_now(repeats=True)

    def _fail(self, error: Exception) -> None:
        self._next_step = NextStep.CLAIM
        self._outage.fail(error)


def _connect(connection: BaseDatabaseWrapper) -> None:
    """Do nothing: submitting any call replaces a lost connection."""


def _check_connection_first(
    call: Callable[[BaseDatabaseWrapper], Any], connection: BaseDatabaseWrapper
) -> Any:
    connection.close_if_unusable_or_obsolete()
    return call(connection)
