"""The manager's heartbeat, and rescue of tasks from dead managers.

A manager of this host is known to be dead as soon as no process holds its presence file locked; any
other is considered dead when its lease has expired.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from enum import Enum
from typing import Any, Final, NamedTuple

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config.queues import QueueConfig
from django_partisan.engine import boot_clock
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.presence import if_dead, is_dead
from django_partisan.sql import leasing
from django_partisan.sql.leasing import HeartbeatResult, OtherManager, RescuedTask
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import LeaseLost

WATCH_SECONDS: Final = 1.0
"""How often the presence files of managers on this host are checked, which costs no query."""
RETRY_SECONDS: Final = 1.0


class State(Enum):
    """What the table knows of this manager."""

    JOINING = "the first heartbeat is not answered yet"
    HELD = "the row is confirmed, and the first rescue is done"
    LOST = "the row was removed because the lease had expired; a new identity is to be registered"


class LeaseOwner(NamedTuple):
    """Whom the lease calls, in the loop."""

    rescued: Callable[[Sequence[RescuedTask]], None]
    """Gets the tasks that were rescued from dead managers."""
    renewed: Callable[[set[int]], int]
    """Gets, after the lease was lost, the ids of the tasks still ours; returns how many were held."""
    failed: Callable[[Exception], None]
    """Gets the error when the database did not answer: what it did may be unknown."""
    extended: Callable[[float], None]
    """Gets until when the lease is valid, by ``boot_clock``, after each heartbeat that was answered."""


class Lease(Component):
    """The identity of a manager and its heartbeat, every third of ``LEASE_SECONDS``.

    A manager that drains keeps its lease until ``deregister()``.
    """

    def __init__(
        self, config: QueueConfig, thread: DatabaseThread, lock_name: uuid.UUID, owner: LeaseOwner
    ) -> None:
        self.id = uuid.uuid4()
        self._config = config
        self._thread = thread
        self._lock_name = lock_name
        self._owner = owner
        self._host = socket.gethostname()
        self._state = State.JOINING
        self._previous_id = self.id
        self._answered_at = time.monotonic()
        self._lost_after = 0.0
        self._sent_at = 0.0
        self._heartbeat_at = 0.0
        self._watch_at = 0.0
        self._neighbours: list[OtherManager] = []
        self._is_deregistered = False

    @property
    def is_held(self) -> bool:
        """True once our row is confirmed and the first rescue is done, and until the lease is lost."""
        return self._state is State.HELD

    @property
    def is_idle(self) -> bool:
        """True while the lease is held; while the manager drains, always."""
        return self.is_stopped or self.is_held

    def turn(self, now: float) -> None:
        """Send a heartbeat if it is time, or if another manager of this host has just died."""
        if self._is_deregistered or self._thread.is_busy:
            return
        if now >= self._watch_at:
            self._watch_at = now + WATCH_SECONDS
            if any(is_dead(neighbour.lock_name) for neighbour in self._neighbours):
                self._heartbeat_at = now
        if now >= self._heartbeat_at:
            self._heartbeat_at = now + self._config.lease_seconds / 3
            self._sent_at = boot_clock.now()
            if self._state is State.LOST:
                self._thread.submit(self._renew, self._on_renewed)
            else:
                self._thread.submit(self._heartbeat, self._on_answered)

    def next_at(self) -> float:
        """Return the monotonic time of the next heartbeat, or of the next look at presence files."""
        if self._is_deregistered or self._thread.is_busy:
            return NEVER
        return min(self._heartbeat_at, self._watch_at) if self._neighbours else self._heartbeat_at

    def heartbeat_soon(self) -> None:
        """Send a heartbeat in the next turn."""
        self._heartbeat_at = 0.0

    def deregister(self) -> None:
        """Delete our row, and rescue nothing more."""
        self._is_deregistered = True
        self._thread.submit(lambda connection: leasing.deregister(connection, self.id), lambda result: None)

    # In the database's thread.

    def _heartbeat(self, connection: BaseDatabaseWrapper) -> HeartbeatResult:
        queue = self._config.queue
        if self._state is State.JOINING:
            self._register(connection)
        found = leasing.heartbeat(connection, queue, self.id)
        if not found.is_alive:
            return found
        with ExitStack() as files:
            dead, begun = self._proven_dead(found.others, files)
            if dead or found.has_abandoned or any(other.is_expired for other in found.others):
                rescued = leasing.rescue(connection, queue, self.id, dead, begun)
                found = found._replace(rescued=rescued)
        return found

    def _register(self, connection: BaseDatabaseWrapper) -> None:
        leasing.register(
            connection,
            self.id,
            self._config.queue,
            self._host,
            os.getpid(),
            self._lock_name,
            self._config.lease_seconds,
        )

    def _proven_dead(self, others: list[OtherManager], files: ExitStack) -> tuple[list[uuid.UUID], list[int]]:
        """Return the managers of this host that are certainly dead, and the tasks they had started."""
        dead: list[uuid.UUID] = []
        begun: list[int] = []
        for other in others:
            if other.host == self._host:
                ids = files.enter_context(if_dead(other.lock_name))
                if ids is not None:
                    dead.append(other.id)
                    begun += ids
        return dead, begun

    def _renew(self, connection: BaseDatabaseWrapper) -> set[int]:
        self._register(connection)
        return leasing.keep(connection, self._config.queue, self.id, self._previous_id)

    # In the loop.

    def _on_answered(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._on_failed(result)
        elif not result.is_alive:
            # Another manager found our heartbeat too old, and removed our row: take a new identity.
            self._previous_id, self.id = self.id, uuid.uuid4()
            self._state = State.LOST
            self._lost_after = time.monotonic() - self._answered_at
            self.heartbeat_soon()
        else:
            self._answered_at = time.monotonic()
            self._owner.extended(self._sent_at + self._config.lease_seconds)
            self._state = State.HELD
            self._neighbours = [other for other in result.others if other.host == self._host]
            if result.rescued:
                self._owner.rescued(result.rescued)

    def _on_renewed(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._on_failed(result)
            return
        self._state = State.HELD
        self.heartbeat_soon()
        bus.emit(LeaseLost, self._config.queue, self._lost_after, self._owner.renewed(result))

    def _on_failed(self, error: Exception) -> None:
        if not isinstance(error, Error):
            raise error
        self._heartbeat_at = time.monotonic() + RETRY_SECONDS
        self._owner.failed(error)
