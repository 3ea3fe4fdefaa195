"""Being alive, and being known to be: our own lease, and the rescue of what the dead held.

A manager of this host is known to be gone as soon as nobody holds its presence file locked; any
other is when its lease has run out.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.database_thread import Call, Done, Line
from django_partisan.engine.presence import if_gone, is_gone
from django_partisan.sql import leasing
from django_partisan.sql.claiming import TaskRow
from django_partisan.sql.leasing import Colleague, Orphan
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import LeaseLost

WATCH_SECONDS: Final = 1.0
"""How often the files of colleagues on this host are looked at; that costs no query."""
RETRY_SECONDS: Final = 1.0


class Beaten(NamedTuple):
    """What a heartbeat came to."""

    is_alive: bool
    colleagues: list[Colleague]
    orphans: list[Orphan]


class Lease:
    """The identity and the heartbeat of a manager; ``rescued`` gets the tasks taken over, in the loop.

    ``kept`` gets, after the lease was lost, the ids of the tasks that are still ours. ``failed`` is
    called with the error when the database did not answer: what it did may be lost with its connection.
    """

    def __init__(
        self,
        config: QueueConfig,
        line: Line,
        lock_name: uuid.UUID,
        rescued: Callable[[list[Orphan]], None],
        kept: Callable[[set[int]], int],
        failed: Callable[[Exception], None],
    ) -> None:
        self.id = uuid.uuid4()
        self._config = config
        self._line = line
        self._lock_name = lock_name
        self._rescued = rescued
        self._kept = kept
        self._host = socket.gethostname()
        self._failed = failed
        self._duty: tuple[Call, Done] = (self._beat, self._on_beaten)
        """What to ask the database next; after a lost lease, to be known to it again."""
        self._is_registered = False
        self._is_ready = False
        self._beaten_at = time.monotonic()
        self._beat_at = 0.0
        self._watch_at = 0.0
        self._ask_at = 0.0
        self._neighbours: list[Colleague] = []
        self._stopped = False

    @property
    def is_ready(self) -> bool:
        """True once our row stands and the first rescue is done, and while the lease is not lost."""
        return self._is_ready

    def turn(self, now: float) -> None:
        """Beat if it is time, or if a colleague of this host has just gone."""
        if self._stopped or self._line.busy:
            return
        if now >= self._watch_at:
            self._watch_at = now + WATCH_SECONDS
            if any(is_gone(neighbour.lock_name) for neighbour in self._neighbours):
                self._beat_at = now
        if now >= self._beat_at:
            self._beat_at = now + self._config.lease_seconds / 3
            self._line.submit(*self._duty)

    def next_at(self) -> float:
        """Return the monotonic time at which ``turn()`` has something to do."""
        if self._stopped or self._line.busy:
            return float("inf")
        return min(self._beat_at, self._watch_at) if self._neighbours else self._beat_at

    def beat_soon(self) -> None:
        """Beat in the next turn."""
        self._beat_at = 0.0

    def find_unheard(self, known: list[int], found: Callable[[list[TaskRow]], None]) -> None:
        """Look for tasks that are ours by the table though nobody here knows them.

        ``known`` names all that are known, and must stay so until ``found`` is called.
        """
        if self._line.busy or self._stopped or not self._is_ready or time.monotonic() < self._ask_at:
            return

        def done(result: Any) -> None:
            if isinstance(result, Exception):
                self._ask_at = self._beat_at = time.monotonic() + RETRY_SECONDS
                self._failed(result)
            else:
                found(result)

        queue, manager = self._config.queue, self.id
        self._line.submit(lambda connection: leasing.unheard(connection, queue, manager, known), done)

    def stop(self) -> None:
        """Take over nothing more and give up our row."""
        self._stopped = True
        self._line.submit(lambda connection: leasing.resign(connection, self.id), lambda result: None)

    def _beat(self, connection: BaseDatabaseWrapper) -> Beaten:
        queue = self._config.queue
        is_first = not self._is_registered
        if is_first:
            self._register(connection)
        beat = leasing.beat(connection, queue, self.id)
        if not beat.is_alive:
            return Beaten(False, [], [])
        orphans: list[Orphan] = []
        with ExitStack() as files:
            gone, begun = self._proven_gone(beat.colleagues, files)
            if gone or any(colleague.is_expired for colleague in beat.colleagues):
                orphans = leasing.take_over(connection, queue, self.id, gone, begun)
            elif beat.has_orphans:
                orphans = leasing.adopt(connection, queue, self.id, [])
        return Beaten(True, beat.colleagues, orphans)

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
        """Return the colleagues of this host that are gone for certain, and the tasks they had begun."""
        gone: list[uuid.UUID] = []
        begun: list[int] = []
        for colleague in colleagues:
            if colleague.host == self._host:
                ids = files.enter_context(if_gone(colleague.lock_name))
                if ids is not None:
                    gone.append(colleague.id)
                    begun += ids
        return gone, begun

    def _on_beaten(self, result: Any) -> None:
        now = time.monotonic()
        if isinstance(result, Exception):
            if not isinstance(result, Error):
                raise result
            self._beat_at = now + RETRY_SECONDS
            self._failed(result)
        elif not result.is_alive:
            self._lose(now)
        else:
            self._beaten_at = now
            self._is_ready = True
            self._neighbours = [c for c in result.colleagues if c.host == self._host]
            if result.orphans:
                self._rescued(result.orphans)

    def _lose(self, now: float) -> None:
        """Take a new identity: another manager found our heartbeat too old and took our row away."""
        previous, self.id = self.id, uuid.uuid4()
        self._is_ready = False  # what was claimed under the new identity before the answer would be dropped
        late = now - self._beaten_at

        def renew(connection: BaseDatabaseWrapper) -> set[int]:
            self._register(connection)
            return leasing.keep(connection, self._config.queue, self.id, previous)

        def renewed(result: Any) -> None:
            if isinstance(result, Exception):
                self._beat_at = time.monotonic() + RETRY_SECONDS
                self._failed(result)
                return
            self._is_ready = True
            self._duty = (self._beat, self._on_beaten)
            self._beat_at = 0.0
            bus.emit(LeaseLost, self._config.queue, late, self._kept(result))

        self._duty = (renew, renewed)
        self._beat_at = 0.0
