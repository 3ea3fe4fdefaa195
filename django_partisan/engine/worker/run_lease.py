"""The lease of a run whose manager has died: a manager's row of its own, for this one task.

The managers of the queue then see the worker as a manager that holds the task that it runs. A presence
file shows those of this host at once when it ends.
"""

import os
import socket
import time
import uuid

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.presence import PresenceFile, WorkerPage
from django_partisan.exceptions import CannotStart
from django_partisan.sql import leasing
from django_partisan.sql.claiming import ID, TOKEN, TaskRow


class RunLease:
    """Hold the task that runs, and send heartbeats every third of ``LEASE_SECONDS``."""

    def __init__(self, config: QueueConfig) -> None:
        self._config = config
        self._id = uuid.uuid4()
        self._lock_name = uuid.uuid4()
        self._presence: tuple[PresenceFile, WorkerPage] | None = None
        self._row: TaskRow | None = None
        self.is_registered = False
        """True if there is, or may be, a row to delete."""
        self._is_held = False
        self._renew_at = 0.0

    def is_due(self, row: TaskRow | None) -> bool:
        """Return whether there is anything to do for the task that runs now."""
        if row is None:
            return False
        return row is not self._row or (self._is_held and time.monotonic() >= self._renew_at)

    def keep(self, connection: BaseDatabaseWrapper, row: TaskRow | None) -> None:
        """Take the task over from the dead manager, and from then on send a heartbeat when it is time.

        If another manager has taken it already, let it be: the run's outcome will not be written.
        """
        if row is None or not self.is_due(row):
            return
        if row is not self._row:
            self._take(connection, row)
            self._row = row
        else:
            self._is_held = leasing.renew(connection, self._id)
        self._renew_at = time.monotonic() + self._config.lease_seconds / 3

    def end(self, connection: BaseDatabaseWrapper) -> None:
        """Delete the row, if there is one: the run has ended and is settled."""
        if self.is_registered:
            leasing.deregister(connection, self._id)
            self.is_registered = False
        if self._presence is not None:
            file, page = self._presence
            file.remove()
            page.close()
            self._presence = None

    def close_presence(self) -> None:  # pragma: no cover: child process
        """Close the presence file, in a process that a task has forked."""
        if self._presence is not None:
            file, page = self._presence
            file.close()
            page.close()

    def _take(self, connection: BaseDatabaseWrapper, row: TaskRow) -> None:
        self._show(row[ID])
        config = self._config
        self.is_registered = True  # even if the answer is lost
        leasing.register(
            connection,
            self._id,
            config.queue,
            socket.gethostname(),
            os.getpid(),
            self._lock_name,
            config.lease_seconds,
            is_serving=False,
        )
        self._is_held = leasing.move(connection, self._id, row[ID], row[TOKEN])
        if not self._is_held:
            leasing.deregister(connection, self._id)

    def _show(self, task_id: int) -> None:
        if self._presence is None:
            try:
                file = PresenceFile(self._lock_name, slots=1)
            except (OSError, CannotStart):
                return  # without a file our death is noticed when the lease expires
            self._presence = file, WorkerPage(os.dup(file.fd), 0)
        _, page = self._presence
        page.begin(task_id, time.monotonic())
