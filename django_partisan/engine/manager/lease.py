"""The manager's heartbeat, and rescue of tasks from dead managers.

A manager of this host is known to be dead as soon as no process holds its presence file locked; any
other is considered dead when its lease has expired.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from enum import Enum
from typing import Any, Final, NamedTuple

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.presence import if_gone, is_gone
from django_partisan.sql import leasing
from django_partisan.sql.leasing import Colleague, Orphan
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


class HeartbeatResult(NamedTuple):
    """Whether our row still exists, the other managers of the queue, and the tasks rescued."""

    is_alive: bool
    colleagues: list[Colleague]
    orphans: list[Orphan]


class LeaseOwner(NamedTuple):
    """Whom the lease calls, in the loop."""

    rescued: Callable[[list[Orphan]], None]
    """Gets the tasks that were rescued from dead managers."""
    renewed: Callable[[set[int]], int]
    """Gets, after the lease was lost, the ids of the tasks still ours; returns how many were held."""
    failed: Callable[[Exception], None]
    """Gets the error when the database did not answer: what it did may be unknown."""


class Lease(Component):
    """The identity of a manager and its heartbeat, every third of ``LEASE_SECONDS``."""

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
        self._previous_id: uuid.UUID | None = None
        self._is_registered = False
        self._answered_at = time.monotonic()
        self._beat_at = 0.0
        self._watch_at = 0.0
        self._neighbours: list[Colleague] = []
        self._is_stopping = False
        self._has_resigned = False

    @property
    def is_held(self) -> bool:
        """True once our row is confirmed and the first rescue is done, and until the lease is lost."""
        return self._state is State.HELD

    @property
    def is_idle(self) -> bool:
        """True while the lease is held; while the manager drains, always."""
        return self._is_stopping or self.is_held

    def turn(self, now: float) -> None:
        """Send a heartbeat if it is time, or if another manager of this host has just died."""
        if self._has_resigned or self._thread.is_busy:
            return
        if now >= self._watch_at:
            self._watch_at = now + WATCH_SECONDS
            if any(is_gone(neighbour.lock_name) for neighbour in self._neighbours):
                self._beat_at = now
        if now >= self._beat_at:
            self._beat_at = now + self._config.lease_seconds / 3
            if self._state is State.LOST:
                self._thread.submit(self._renew, self._on_renewed)
            else:
                self._thread.submit(self._beat, self._on_beaten)

    def next_at(self) -> float:
        """Return the monotonic time of the next heartbeat, or of the next look at presence files."""
        if self._has_resigned or self._thread.is_busy:
            return NEVER
        return min(self._beat_at, self._watch_at) if self._neighbours else self._beat_at

    def stop(self) -> None:
        """Keep the lease while the manager drains; ``resign()`` ends it."""
        self._is_stopping = True

    def beat_soon(self) -> None:
        """Send a heartbeat in the next turn."""
        self._beat_at = 0.0

    def resign(self) -> None:
        """Delete our row, and rescue nothing more."""
        self._has_resigned = True
        self._thread.submit(lambda connection: leasing.resign(connection, self.id), lambda result: None)

    # In the database's thread.

    def _beat(self, connection: BaseDatabaseWrapper) -> HeartbeatResult:
        queue = self._config.queue
        if not self._is_registered:
            self._register(connection)
        beat = leasing.beat(connection, queue, self.id)
        if not beat.is_alive:
            return HeartbeatResult(False, [], [])
        orphans: list[Orphan] = []
        with ExitStack() as files:
            gone, begun = self._proven_gone(beat.colleagues, files)
            if gone or any(colleague.is_expired for colleague in beat.colleagues):
                orphans = leasing.take_over(connection, queue, self.id, gone, begun)
            elif beat.has_orphans:
                orphans = leasing.adopt(connection, queue, self.id, [])
        return HeartbeatResult(True, beat.colleagues, orphans)

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
        self._is_registered = True

    def _proven_gone(
        self, colleagues: list[Colleague], files: ExitStack
    ) -> tuple[list[uuid.UUID], list[int]]:
        """Return the managers of this host that are certainly dead, and the tasks they had started."""
        gone: list[uuid.UUID] = []
        begun: list[int] = []
        for colleague in colleagues:
            if colleague.host == self._host:
                ids = files.enter_context(if_gone(colleague.lock_name))
                if ids is not None:
                    gone.append(colleague.id)
                    begun += ids
        return gone, begun

    def _renew(self, connection: BaseDatabaseWrapper) -> set[int]:
        self._register(connection)
        assert self._previous_id is not None
        return leasing.keep(connection, self._config.queue, self.id, self._previous_id)

    # In the loop.

    def _on_beaten(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._on_failed(result)
        elif not result.is_alive:
            self._lose()
        else:
            self._answered_at = time.monotonic()
            self._state = State.HELD
            self._neighbours = [c for c in result.colleagues if c.host == self._host]
            if result.orphans:
                self._owner.rescued(result.orphans)

    def _lose(self) -> None:
        """Take a new identity: another manager found our heartbeat too old, and removed our row."""
        self._previous_id, self.id = self.id, uuid.uuid4()
        self._state = State.LOST
        self.beat_soon()

    def _on_renewed(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._on_failed(result)
            return
        self._state = State.HELD
        self.beat_soon()
        age = time.monotonic() - self._answered_at
        bus.emit(LeaseLost, self._config.queue, age, self._owner.renewed(result))

    def _on_failed(self, error: Exception) -> None:
        if not isinstance(error, Error):
            raise error
        self._beat_at = time.monotonic() + RETRY_SECONDS
        self._owner.failed(error)
