"""The database calls of a lease, made in a database thread: heartbeats, and renewal after a loss."""

import json
import os
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.rescue import Rescue, Rescued
from django_partisan.engine.manager.stale_presence_files import remove_left_files
from django_partisan.sql import leasing, own_claims
from django_partisan.sql.leasing import HeartbeatResult, ProcessStart


class Answer(NamedTuple):
    """The result of a heartbeat: what it found, and which tasks it rescued."""

    found: HeartbeatResult
    rescued: Rescued = Rescued()


class Heartbeat:
    """The heartbeat of a manager on ``host`` whose presence file is named ``lock_name``.

    ``schedules`` are the names and fingerprints of the schedules in its settings. The row of a new identity
    keeps the time at which the process started.
    """

    def __init__(
        self,
        config: QueueConfig,
        host: str,
        lock_name: UUID,
        rescue: Rescue,
        schedules: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._config = config
        self._host = host
        self._lock_name = lock_name
        self._rescue = rescue
        self._schedules = json.dumps(dict(schedules)) if schedules else None
        self._started_from = time.monotonic()
        self._started_at: str | None = None

    def send(
        self, connection: BaseDatabaseWrapper, manager: UUID, token: int, is_first: bool, state: str | None
    ) -> Answer:
        """Renew the lease and publish ``state``; rescue tasks of dead managers under ``token``.

        Register the manager first if this ``is_first``.
        """
        if is_first:
            self._register(connection, manager)
            remove_left_files(connection)
        found = leasing.heartbeat(connection, self._config.queue, manager, state)
        if not found.is_alive:
            return Answer(found)
        return Answer(found, self._rescue.make(connection, manager, token, found))

    def renew(self, connection: BaseDatabaseWrapper, manager: UUID, previous: UUID) -> set[int]:
        """Register as ``manager``, and keep the tasks claimed under this id or its ``previous`` one.

        Return the ids of the tasks that no other manager has taken.
        """
        self._register(connection, manager)
        return own_claims.move_claims(connection, self._config.queue, manager, previous)

    def _register(self, connection: BaseDatabaseWrapper, manager: UUID) -> None:
        config = self._config
        started = ProcessStart(self._started_at, time.monotonic() - self._started_from)
        self._started_at = leasing.register(
            connection,
            manager,
            config.queue,
            self._host,
            os.getpid(),
            self._lock_name,
            config.lease_seconds,
            started=started,
            schedules=self._schedules,
        )
