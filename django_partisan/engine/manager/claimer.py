"""Claim due tasks and hand them to the dispatcher; publish whether the manager sleeps.

While there is a backlog, one claim follows another. When a claim returns fewer tasks than its limit, the
promoter checks whether any task is due; if none is, the manager publishes that it sleeps, so that ``delay()``
wakes it. While it sleeps and a worker is idle, a claim stands by: its thread makes it as soon as the
notification arrives, without a turn of the loop. Nothing is claimed from a paused queue.
"""

import time
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Any, Final
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.batch_limit import BatchLimit
from django_partisan.engine.manager.claim_call import ClaimCall
from django_partisan.engine.manager.claim_cursor import ClaimCursor
from django_partisan.engine.manager.claim_events import ClaimEvents
from django_partisan.engine.manager.claim_tokens import ClaimTokens
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_call import StandingCall
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.dispatcher import Dispatcher
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.promoter import Promoter
from django_partisan.engine.manager.queue_pause import QueuePause
from django_partisan.sql import claiming
from django_partisan.sql.claiming import TaskRow
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.session import answer_seconds
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import ClaimErrored, PollFoundNothing

AWAKE_AFTER_FULL_CLAIMS: Final = 3
CLAIM_SECONDS_MAX: Final = 0.005
"""How long a claim is expected to take at most. A slow one may have waited for a lock."""


class NextStep(Enum):
    """The next step of the claimer."""

    CLAIM = "tasks may be due: claim when there is room"
    CHECK = "the last claim returned fewer tasks than its limit: wait for the promoter's answer"
    REST = "nothing was due: wait for a notification, or for the promoter"


class Claimer(Component):
    """The component that claims tasks of one queue for the dispatcher, over one connection.

    ``identity`` returns the manager's id while it may claim, else ``None``; it is also called in the
    database thread.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        outage: Outage,
        promoter: Promoter,
        tokens: ClaimTokens,
        dispatcher: Dispatcher,
        events: ClaimEvents,
        identity: Callable[[], UUID | None],
        pause: QueuePause,
    ) -> None:
        self._config = config
        self._thread = thread
        self._outage = outage
        self._promoter = promoter
        self._tokens = tokens
        self._dispatcher = dispatcher
        self._events = events
        self._identity = identity
        self._pause = pause
        self._next_step = NextStep.CLAIM
        self._cursor = ClaimCursor()
        self._is_asleep = False
        self._full_claims = 0
        self._was_empty = False
        self._answered_at = 0.0
        self._claims = 0
        self._standing_for: tuple[UUID | None, int, list[str]] | None = None
        """What the standing claim was prepared for: manager, limit, and the processors that it leaves out."""
        self._claim_seconds = 0.0
        """How long the next claim is expected to take: as long as the last one."""
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
            self._thread.stand_down()
            self._rest_while_paused()
            return
        self._use_check()
        if now < self._outage.retry_at:
            self._thread.stand_down()
            self._next_at = self._outage.retry_at
        elif self._next_step is NextStep.CLAIM or self._outage.is_on:  # only an answer ends an outage
            if self._thread.stand_down():
                self._claim_if_possible(now)
        elif self._is_asleep:
            self._stand_by(now)
        elif self._next_step is NextStep.REST and self._config.listen:
            self._publish(asleep=True)

    def stop(self) -> None:
        """Claim no more."""
        super().stop()
        self._thread.stand_down()

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
        room = self._dispatcher.room(self._claim_seconds) if manager is not None else 0
        if manager is None or room <= 0:
            return
        if self._thread.needs_connection:  # reconnect; Reconciliation compares held tasks before the claim
            self._thread.submit(_connect, self._on_connected)
            return
        if self._is_asleep and self._full_claims >= AWAKE_AFTER_FULL_CLAIMS:
            self._publish(asleep=False)
            return
        call = self._call(now, manager, min(room, self._limit.rows), self._cursor.start(now))
        self._thread.submit(call, partial(self._on_claimed, call))

    def _stand_by(self, now: float) -> None:
        """Let the next notification start a claim, unless one stands by already.

        While no worker is idle, how much may be claimed also depends on the time of the notification, so none
        stands by then.
        """
        manager = self._identity()
        room = min(self._dispatcher.room(), self._limit.rows) if self._dispatcher.has_idle_worker else 0
        standing_for = (manager, room, self._promoter.left_to_others)
        if self._thread.is_standing_by and standing_for == self._standing_for:
            return
        if not self._thread.stand_down() or manager is None:
            return
        if self._thread.needs_connection or not self._thread.is_listening:
            self._thread.submit(_connect, self._on_connected)
            return
        if room <= 0 or self._is_check_due:
            return
        self._standing_for = standing_for
        call = self._call(now, manager, room, None)
        self._thread.stand_by(
            StandingCall(
                CHANNEL,
                self._config.queue,
                call,
                done=partial(self._on_claimed, call),
                may_begin=lambda: self._identity() == manager,
                withdrawn=partial(self._tokens.forget, call.token),
            )
        )

    @property
    def _is_check_due(self) -> bool:
        """True if the connection is to be checked before the next claim."""
        return (self._claims + 1) % self._config.checks_before_cleanup == 0

    def _call(self, now: float, manager: UUID, limit: int, behind: tuple[int, int] | None) -> ClaimCall:
        return ClaimCall(
            self._config.queue,
            manager,
            self._tokens.draw(),
            limit,
            behind,
            self._promoter.left_to_others,
            self._is_check_due,
            now,
        )

    def _on_claimed(self, call: ClaimCall, result: Any) -> None:
        self._claims += 1
        seconds = time.monotonic() - call.sent_at
        if isinstance(result, Exception):
            self._tokens.failed(call.token)
            is_early = seconds < answer_seconds(self._config.lease_seconds)
            if error := self._limit.judge(result, call.limit, is_early):
                self._fail(error)
            else:  # repeat the claim at once, for fewer tasks
                self._next_step = NextStep.CLAIM
                bus.emit(ClaimErrored, self._config.queue)
            return
        self._limit.finished(call.limit)
        self._claim_seconds = min(seconds, CLAIM_SECONDS_MAX)
        self._outage.end()
        self.last_claim_at = time.time()
        if not self._tokens.answered(call.token):
            return
        rows: list[TaskRow] = result
        self._cursor.claimed(seconds, call.is_from_start)
        self._events.add(rows, seconds)
        if len(rows) >= call.limit:
            self._next_step = NextStep.CLAIM
            self._full_claims += 1
            self._cursor.move_behind(rows[-1])
        else:
            self._cursor.reset()
            if call.is_from_start:  # else more may be due before the last row claimed
                self._full_claims = 0
                self._was_empty = not rows
                self._next_step = NextStep.CHECK
                self._answered_at = time.monotonic()
                self._promoter.check_now()
        if rows:
            self._dispatcher.take(rows, call.sent_boot_at)

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
