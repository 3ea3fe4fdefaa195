"""The manager's heartbeat, and rescue of tasks from dead managers.

The lease expires ``LEASE_SECONDS`` after the last answered heartbeat was sent, by a clock that also counts
time during which the host was suspended. After that, other managers may rescue this manager's tasks, so
nothing starts until the database has confirmed which tasks are still its own.
"""

import socket
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from django.db import Error

from django_partisan.config.queues import QueueConfig
from django_partisan.engine import boot_clock
from django_partisan.engine.manager.claim_tokens import ClaimTokens
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.heartbeat import Answer, Heartbeat
from django_partisan.engine.manager.other_managers import OtherManagers
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.rescue import Rescue
from django_partisan.outcomes import REASON_MANAGER_LOST
from django_partisan.sql import leasing
from django_partisan.sql.leasing import HeartbeatResult
from django_partisan.sql.rescuing import RescuedTask
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.managers import LeaseLost

WATCH_SECONDS: Final = 1.0
"""How often the presence files of other managers on this host are checked; this costs no query."""
RETRY_SECONDS: Final = 1.0


class State(Enum):
    """Whether the manager's row and its claims are confirmed."""

    JOINING = "no claims yet: the first heartbeat is unanswered, or missing managers may still come back"
    HELD = "the row is confirmed"
    UNSURE = "the lease expired before the row was confirmed: other managers may have taken tasks"
    LOST = "the row was removed: a new id must be registered"


class LeaseOwner(NamedTuple):
    """Functions of the manager that the lease calls, in the loop's thread."""

    held_ids: Callable[[], set[int]]
    """Returns the ids of all tasks that this process holds and that have no outcome yet."""
    extended: Callable[[float], None]
    """Called with the time, by the boot clock, until which tasks may start."""
    rescued: Callable[[Sequence[RescuedTask], float], None]
    """Called with tasks rescued from dead managers, and with the time of the heartbeat (boot clock)."""
    revoked: Callable[[set[int]], int]
    """Called after a lost lease with the ids of tasks that others took; returns how many were held."""
    paused: Callable[[bool], None]
    """Called with whether the queue is paused, before anything else in a heartbeat's answer is used."""
    answered: Callable[[HeartbeatResult], None]
    """Called with what a heartbeat found in the tables."""
    state: Callable[[], str | None] = lambda: None
    """Returns the state that the manager publishes with the heartbeat."""


class Lease(Component):
    """The component that owns the manager's id and sends a heartbeat every third of ``LEASE_SECONDS``.

    A draining manager keeps its lease until ``deregister()``.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        lock_name: uuid.UUID,
        outage: Outage,
        tokens: ClaimTokens,
        owner: LeaseOwner,
        clock: Callable[[], float] = boot_clock.now,
        schedules: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Prepare the lease; ``schedules`` maps names of schedules in the settings to fingerprints."""
        self.id = uuid.uuid4()
        self._config = config
        self._thread = thread
        self._outage = outage
        self._tokens = tokens
        self._owner = owner
        self._clock = clock
        host = socket.gethostname()
        self._others = OtherManagers(host, clock)
        self._rescue = Rescue(config.queue, self._others)
        self._heartbeat = Heartbeat(config, host, lock_name, self._rescue, schedules)
        self._state = State.JOINING
        self._previous_id = self.id
        self._sent_at = self._clock()
        self._expires_at = 0.0
        self._lost_after = 0.0
        self._heartbeat_at = 0.0
        self._watch_at = 0.0
        self._has_waited = False
        self._is_deregistered = False

    @property
    def is_held(self) -> bool:
        """True while tasks may be claimed and started: the row is confirmed and the lease has not expired."""
        return self._state is State.HELD and self._clock() < self._expires_at

    @property
    def is_idle(self) -> bool:
        """True while the lease is held, and always while the manager drains."""
        return self.is_stopped or self.is_held

    def turn(self, now: float) -> None:
        """Send a heartbeat if it is due, or if another manager on this host has just died."""
        if self._is_deregistered or self._thread.is_busy:
            return
        if now >= self._watch_at:
            self._watch_at = now + WATCH_SECONDS
            if self._others.has_any_died():
                self._heartbeat_at = now
        if now >= self._heartbeat_at:
            self._heartbeat_at = now + self._config.lease_seconds / 3
            if self._state in (State.UNSURE, State.LOST):
                self._send_renewal()
            else:
                self._send_heartbeat()

    def next_at(self) -> float:
        """Return the monotonic time of the next heartbeat or the next check of presence files."""
        if self._is_deregistered or self._thread.is_busy:
            return NEVER
        is_watching = self._others.are_watched
        return min(self._heartbeat_at, self._watch_at) if is_watching else self._heartbeat_at

    def heartbeat_soon(self) -> None:
        """Send a heartbeat in the next turn."""
        self._heartbeat_at = 0.0

    def deregister(self) -> None:
        """Delete the manager's row, and send no more heartbeats."""
        self._is_deregistered = True
        self._thread.submit(lambda connection: leasing.deregister(connection, self.id), lambda result: None)

    def _send_heartbeat(self) -> None:
        sent_at = self._clock()
        seconds = self._config.lease_seconds
        if self._state is State.HELD and sent_at - self._sent_at > seconds * 2 / 3:
            # This gap may have been an outage for all managers: give the others time to send a heartbeat.
            self._others.ignore_expiry_until(sent_at + seconds)
        token = self._tokens.draw(REASON_MANAGER_LOST)
        self._rescue.begin(token)
        is_first = self._state is State.JOINING
        state = self._owner.state()
        send = partial(self._heartbeat.send, manager=self.id, token=token, is_first=is_first, state=state)
        self._thread.submit(send, partial(self._on_answered, sent_at, token))

    def _send_renewal(self) -> None:
        known = self._owner.held_ids()
        # Tasks of answers that come later are not in `held_ids`, and others may take them before this call.
        self._tokens.distrust_all()
        renew = partial(self._heartbeat.renew, manager=self.id, previous=self._previous_id)
        self._thread.submit(renew, partial(self._on_renewed, self._clock(), known))

    def _on_answered(self, sent_at: float, token: int, result: Any) -> None:
        if isinstance(result, Exception):
            self._on_lost(token, result)
            return
        self._rescue.end()
        self._tokens.forget(token)
        self._owner.paused(result.found.is_paused)
        rescued = result.rescued
        if rescued.tasks:
            self._owner.rescued(rescued.tasks, sent_at)
        if rescued.is_more_left:
            self.heartbeat_soon()
        if not result.found.is_alive:
            # Another manager considered this one dead and removed its row: register with a new id.
            self._previous_id, self.id = self.id, uuid.uuid4()
            self._require_renewal(State.LOST)
        elif self._state is State.HELD and self._clock() >= self._expires_at:
            self._previous_id = self.id
            self._expires_at = sent_at + self._config.lease_seconds
            self._require_renewal(State.UNSURE)
        else:
            self._on_confirmed(sent_at, result)

    def _on_lost(self, token: int, error: Exception) -> None:
        is_rescue = self._rescue.end(error)
        if is_rescue:
            self._tokens.failed(token)
            error = self._rescue.judge(error)
        else:
            self._tokens.forget(token)
            if self._state is State.JOINING:  # the others may be cut off, too: give them time again
                self._has_waited = False
                self._others.ignore_expiry_until(NEVER)
        self._on_failed(error)

    def _on_confirmed(self, sent_at: float, answer: Answer) -> None:
        self._others.note(answer.found.others)
        self._owner.answered(answer.found)
        if self._state is State.JOINING and not self._may_join(answer):
            return
        self._sent_at = sent_at
        self._extend(sent_at + self._config.lease_seconds)

    def _may_join(self, answer: Answer) -> bool:
        """Return whether this manager may claim now; if managers are missing, give them time first."""
        if answer.rescued.are_missing and not self._has_waited:
            self._has_waited = True
            seconds = self._config.lease_seconds / 3
            self._others.ignore_expiry_until(self._clock() + seconds)
            self._heartbeat_at = time.monotonic() + seconds
            return False
        self._others.ignore_expiry_until(0.0)
        return True

    def _require_renewal(self, state: State) -> None:
        self._state = state
        self._lost_after = self._clock() - self._sent_at
        self.heartbeat_soon()

    def _on_renewed(self, sent_at: float, known: set[int], result: Any) -> None:
        if isinstance(result, Exception):
            self._on_failed(result)
            return
        self._tokens.distrust_all()  # including calls that were sent during the renewal
        was_lost = self._state is State.LOST
        # Tasks settled during the renewal are not in process either, but are not lost.
        revoked = (known - result) & self._owner.held_ids()
        held = self._owner.revoked(revoked)
        if was_lost or revoked:
            bus.emit(LeaseLost, self._config.queue, self._lost_after, held)
        self._sent_at = sent_at
        lease_end = sent_at + self._config.lease_seconds
        self._others.ignore_expiry_until(lease_end)  # the others may need longer to come back
        self._extend(lease_end if was_lost else self._expires_at)
        self.heartbeat_soon()

    def _extend(self, expires_at: float) -> None:
        self._state = State.HELD
        self._expires_at = expires_at
        self._owner.extended(expires_at)
        if not self._outage.has_paused:  # only heartbeats failed; with a full buffer, no claim ends it
            self._outage.end()

    def _on_failed(self, error: Exception) -> None:
        if not isinstance(error, Error):
            raise error
        self._heartbeat_at = time.monotonic() + RETRY_SECONDS
        if not self.is_held and not self.is_stopped:  # no claim is made until a heartbeat is answered
            self._outage.note(error)
