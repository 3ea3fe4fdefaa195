"""The lease for a run whose manager has died: a separate manager row for this one task.

Managers of the queue then see the worker as a manager that holds the task. On the same host, a presence file
shows them immediately when the worker ends.
"""

import os
import socket
import time
import uuid
from collections.abc import Callable
from enum import Enum

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.presence import PresenceFile, WorkerPage
from django_partisan.exceptions import CannotStart
from django_partisan.sql import leasing
from django_partisan.sql.claiming import ID, PROCESSOR, TOKEN, TaskRow
from django_partisan.sql.connection import identity_of
from django_partisan.sql.manager_state import Run


class RowState(Enum):
    """Whether the worker's own manager row exists and holds the task."""

    NONE = "no row exists: no task was taken over yet, or another manager has the running task"
    UNSURE = "a row may exist: the answer to its insert or delete is missing"
    HELD = "the row holds the running task"


class RunLease:
    """Holds the running task, with a heartbeat every third of ``LEASE_SECONDS``.

    ``started`` returns when the run started, in monotonic seconds.
    """

    def __init__(self, config: QueueConfig, started: Callable[[], float]) -> None:
        self._config = config
        self._started = started
        self._id = uuid.uuid4()
        self._lock_name = uuid.uuid4()
        self._presence: tuple[PresenceFile, WorkerPage] | None = None
        self._touch: Callable[[], None] = _do_nothing
        self._row: TaskRow | None = None
        self._row_state = RowState.NONE
        self._renew_at = 0.0

    @property
    def may_have_row(self) -> bool:
        """True if a row exists, or may exist, that has to be deleted."""
        return self._row_state is not RowState.NONE

    def is_due(self, row: TaskRow) -> bool:
        """Return whether ``take_over_or_renew()`` has anything to do for the running task."""
        return row is not self._row or (
            self._row_state is RowState.HELD and time.monotonic() >= self._renew_at
        )

    def take_over_or_renew(self, connection: BaseDatabaseWrapper, row: TaskRow) -> None:
        """Take over the task from the dead manager; once it is taken over, send heartbeats.

        If another manager has already taken it over, do nothing: the outcome of the run will not be written.
        """
        is_new = row is not self._row
        if self._take_over_task(connection, row) if is_new else leasing.renew(connection, self._id):
            self._row_state = RowState.HELD
            self._touch()
        else:
            self.end(connection)
        self._row = row
        self._renew_at = time.monotonic() + self._config.lease_seconds / 3

    def end(self, connection: BaseDatabaseWrapper) -> None:
        """Delete the row and the file if they exist, because no run needs them any more."""
        if self.may_have_row:
            self._row_state = RowState.UNSURE
            leasing.deregister(connection, self._id)
            self._row_state = RowState.NONE
        if self._presence is not None:
            file, page = self._presence
            file.remove()
            page.close()
            self._presence, self._touch = None, _do_nothing

    def close_presence(self) -> None:  # pragma: no cover: child process
        """Close the presence file in a process that a task has forked."""
        if self._presence is not None:
            file, page = self._presence
            file.close()
            page.close()

    def _take_over_task(self, connection: BaseDatabaseWrapper, row: TaskRow) -> bool:
        self._publish_run(row[ID], identity_of(connection))
        config = self._config
        self._row_state = RowState.UNSURE
        leasing.register(
            connection,
            self._id,
            config.queue,
            socket.gethostname(),
            os.getpid(),
            self._lock_name,
            config.lease_seconds,
            is_serving=False,
            run=Run(row[ID], row[PROCESSOR], os.getpid(), None, max(0.0, time.monotonic() - self._started())),
        )
        return leasing.move_task(connection, self._id, row[ID], row[TOKEN])

    def _publish_run(self, task_id: int, database: bytes) -> None:
        if self._presence is None:
            try:
                file = PresenceFile(self._lock_name, 1, database)
            except (OSError, CannotStart):
                return  # without a file, others notice our death when the lease expires
            self._presence = file, WorkerPage(os.dup(file.fd), 0)
            self._touch = file.touch
        _, page = self._presence
        page.begin(task_id, time.monotonic())


def _do_nothing() -> None:
    """Stand in for ``touch()`` while there is no file."""
