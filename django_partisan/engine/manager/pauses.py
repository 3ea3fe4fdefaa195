"""Apply pauses of the queue: start no task, and release claimed tasks that have not started.

The table of pauses is read after each notification, and after each heartbeat that found a change. These reads
use the heartbeat's connection for two reasons. Its calls are few and short; on another connection, a read
could wait behind a long promotion. And answers over one connection arrive in the order
in which the table was read.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from django.db import Error

from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.pool import Pool
from django_partisan.engine.manager.queue_pause import QueuePause
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.presence import PresenceFile
from django_partisan.sql import pausing
from django_partisan.sql.pausing import StoredPause
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.operators import QueuePaused, QueueResumed

RETRY_SECONDS: Final = 1.0
RECALL_SECONDS: Final = 0.1
"""How often to recall tasks that were on their way to a worker when the pause began."""
LEAST_SECONDS: Final = 0.02
"""The shortest wait before the table is read at the end of a pause."""


class Pauses(Component):
    """The component that keeps ``pause`` up to date; ``resumed`` is called when the pause has ended."""

    def __init__(
        self,
        queue: str,
        thread: DatabaseThread,
        pause: QueuePause,
        intake: Intake,
        pool: Pool,
        settler: Settler,
        presence: PresenceFile,
        resumed: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._thread = thread
        self._pause = pause
        self._intake = intake
        self._pool = pool
        self._settler = settler
        self._presence = presence
        self._resumed = resumed
        self._read_at = NEVER
        self._is_reading = False
        self._has_read = False
        self._recall_at = 0.0
        self._emitted: QueuePaused | None = None

    def on_heartbeat(self, is_paused: bool) -> None:
        """Read the table if a heartbeat found a change; pause at once if the queue is paused.

        Ignored while the manager drains.

        The table is always read after the first heartbeat: that precedes the LISTEN of its connection, so a
        notification may have been missed.
        """
        if self.is_stopped:
            return
        has_changed = is_paused != self._pause.is_on
        if has_changed and is_paused:
            self._begin()
        if has_changed or not self._has_read:
            self.read_now()

    def read_now(self) -> None:
        """Read the table in the next turn."""
        self._read_at = 0.0

    def turn(self, now: float) -> None:
        """Read the table if it is due; during a pause, recall tasks that workers have not started.

        The read is also submitted while another call is under way, and follows it.
        """
        if self.is_stopped:
            return
        if not self._is_reading and now >= self._read_at:
            self._read_at, self._is_reading = NEVER, True
            self._thread.submit(partial(pausing.read_pause, queue=self._queue), self._on_read)
        if self._pause.is_on and now >= self._recall_at:
            self._recall(now)

    def next_at(self) -> float:
        """Return the monotonic time of the next read or recall."""
        if self.is_stopped:
            return NEVER
        read_at = NEVER if self._is_reading else self._read_at
        return min(read_at, self._recall_at) if self._pause.is_on else read_at

    def _on_read(self, result: Any) -> None:
        self._is_reading = False
        if isinstance(result, Error):  # heartbeats report whether the database answers
            self._read_at = min(self._read_at, time.monotonic() + RETRY_SECONDS)
        elif isinstance(result, Exception):
            raise result
        elif not self.is_stopped:
            self._has_read = True
            if result is None:
                self._end()
            else:
                self._note(result)

    def _note(self, seen: StoredPause) -> None:
        self._begin(seen.seconds)
        if seen.seconds_left is not None:
            ends_at = time.monotonic() + max(seen.seconds_left, LEAST_SECONDS)
            self._read_at = min(self._read_at, ends_at)
        event = QueuePaused(self._queue, seen.until, seen.comment, seen.by)
        if event != self._emitted:
            self._emitted = event
            bus.emit(QueuePaused, *event)

    def _begin(self, seconds: float = 0.0) -> None:
        if self._pause.begin(seconds):
            self._settler.release(self._intake.buffer.take_all())
            self._recall_at = 0.0

    def _end(self) -> None:
        seconds = self._pause.seconds
        if not self._pause.is_on:
            return
        self._pause.end()
        if self._emitted is not None:
            self._emitted = None
            bus.emit(QueueResumed, self._queue, seconds)
        self._resumed()

    def _recall(self, now: float) -> None:
        waiting = [worker for worker in self._pool.workers if self._holds_unstarted(worker)]
        for worker in waiting:
            worker.recall()
        self._recall_at = now + RECALL_SECONDS if waiting else NEVER

    def _holds_unstarted(self, worker: WorkerProcess) -> bool:
        return bool(worker.held.keys() - {self._presence.page(worker.slot).task_id})
