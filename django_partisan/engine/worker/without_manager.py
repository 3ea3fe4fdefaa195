"""Finish a worker's duties after its manager has died: settle, release unstarted tasks, keep the running one.

| thread | does what |
|---|---|
| control | everything from the manager's death to the end of the run, so that no manager repeats the run |
| main | ends the run, waits for the other thread, and writes what is left |

The thread that does the work holds ``_duty``. All writes use the claims of the dead manager, so that a write
that is repeated or too late changes nothing.
"""

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.outcome_writing import Kind
from django_partisan.engine.settling import write_all
from django_partisan.engine.worker.prefetch import PrefetchedTasks
from django_partisan.engine.worker.report import PendingReport
from django_partisan.engine.worker.run_lease import RunLease
from django_partisan.sql.claiming import ID, TOKEN, TaskRow
from django_partisan.sql.row_changes import Item
from django_partisan.sql.session import Session, answer_seconds

FAILURES: Final = (Error, OSError)
"""Errors of the database, or of the host, such as too many open files."""
PAUSE_SECONDS: Final = 0.5
CALLS_AT_MOST: Final = 3
"""The time limit for all calls over one connection, as a multiple of the time limit for one answer."""


class WithoutManager:
    """The duties of a worker that has lost its manager.

    ``running`` returns the running task, or ``None``; ``started`` returns when its run started (monotonic).
    """

    def __init__(
        self,
        config: QueueConfig,
        report: PendingReport,
        tasks: PrefetchedTasks,
        running: Callable[[], TaskRow | None],
        pause_seconds: float = PAUSE_SECONDS,
        started: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._report = report
        self._tasks = tasks
        self._running = running
        self._pause_seconds = pause_seconds
        self._answer_seconds = answer_seconds(config.lease_seconds)
        self._lease = RunLease(config, started)
        self._duty = threading.Lock()
        self._has_ended = threading.Event()
        self._unwritten: dict[Kind, list[Item]] = {
            kind: [] for kind in (Kind.COMPLETED, Kind.KEPT, Kind.RELEASED, Kind.CHANGED)
        }
        """Items that have not been written yet."""

    def keep_run(self) -> None:
        """Write what can be written and hold the running task, until ``finish()`` is called."""
        with self._duty:
            pause = 0.0
            while not self._has_ended.wait(pause):
                pause = self._pause_seconds
                self._gather()
                row = self._running()
                calls: list[Callable[[BaseDatabaseWrapper], None]] = []
                if row is not None and self._lease.is_due(row):
                    calls.append(
                        partial(self._lease.take_over_or_renew, row=row)
                    )  # first: settling may have to wait
                if self._has_unwritten:
                    calls.append(self._settle)
                if not calls:
                    continue
                try:
                    self._call(*calls)
                except FAILURES:
                    continue  # until the run ends; another manager may take over the task before that

    def finish(self) -> None:
        """Write what is left once nothing runs any more.

        What cannot be written, because the database is unreachable or rows are locked, is tried again until
        the lease has expired; from then on another manager runs the tasks. Raises if the database is still
        unreachable then.
        """
        deadline = time.monotonic() + self._config.lease_seconds
        self._has_ended.set()
        # Time out if a call of the control thread hangs, so that it cannot keep the process alive.
        is_ours = self._duty.acquire(timeout=self._config.lease_seconds)
        try:
            self._write_until(deadline)
        finally:
            if is_ours:
                self._duty.release()

    def end(self) -> None:
        """Drop all duties, because the worker ends as its manager asked."""
        self._has_ended.set()

    def close_presence(self) -> None:  # pragma: no cover: child process
        """Close the presence file of the run in a process that a task has forked."""
        self._lease.close_presence()

    def _write_until(self, deadline: float) -> None:
        while True:
            self._gather()
            if not self._has_unwritten and not self._lease.may_have_row:
                return
            is_over = time.monotonic() > deadline
            try:
                self._call(self._settle, self._end_lease)
            except FAILURES:
                if is_over:
                    raise
            else:
                if is_over or not self._has_unwritten:
                    return
            time.sleep(self._pause_seconds)

    @property
    def _has_unwritten(self) -> bool:
        return any(self._unwritten.values())

    def _call(self, *calls: Callable[[BaseDatabaseWrapper], None]) -> None:
        """Make calls over a new connection.

        A silent server cannot block the call: a worker that waited forever would look as if it still ran its
        task.
        """
        session = Session(f"without manager {self._config.queue}", self._answer_seconds)
        watch = threading.Timer(CALLS_AT_MOST * self._answer_seconds, session.shut_down_connection)
        watch.daemon = True
        watch.start()
        try:
            session.open()
            for call in calls:
                call(session.connection)
        finally:
            watch.cancel()
            session.close()

    def _settle(self, connection: BaseDatabaseWrapper) -> None:
        for kind, items in self._unwritten.items():
            self._unwritten[kind] = write_all(connection, kind, items)

    def _end_lease(self, connection: BaseDatabaseWrapper) -> None:
        """Delete the manager row of the run; it holds the task until the outcome is written."""
        if not self._has_unwritten:
            self._lease.end(connection)

    def _gather(self) -> None:
        """Take the unreported runs and the unstarted tasks, so that none of these tasks starts."""
        self._unwritten[Kind.RELEASED] += [(row[ID], row[TOKEN]) for row in self._tasks.take_unstarted()]
        unreported = self._report.take_unreported()
        self._unwritten[Kind.COMPLETED] += unreported.completed
        self._unwritten[Kind.KEPT] += unreported.kept
        self._unwritten[Kind.CHANGED] += unreported.changes
