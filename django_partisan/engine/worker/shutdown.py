"""End a worker: do what a Python process does at exit, in order and within one time limit.

A task may leave threads behind, and a library may wait for a server that does not answer, so the
interpreter's own shutdown could take forever. The process therefore ends with ``os._exit()`` after these
steps.

| thread | does what |
|---|---|
| ``partisan-ending`` | calls the receivers of ``worker_stopping``, then runs the exit handlers |
| main | flushes telemetry when the receivers have returned, or after half the time; waits for the other |

This way exit handlers run even if a collector is dead, and telemetry is flushed even if an exit handler
hangs.
"""

import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Final

from django.db import connections

from django_partisan.engine.worker import children
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.telemetry import TelemetryFlushTimedOut
from django_partisan.telemetry.events.workers import ExitTimedOut, WorkerStopping

STREAM_FLUSH_SECONDS: Final = 2.0


class WorkerShutdown:
    """End the worker of a slot within ``seconds``: call ``begin()``, then ``finish()``."""

    def __init__(
        self,
        queue: str,
        slot: int,
        generation: int,
        seconds: float,
        run_exit_handlers: Callable[[], None] = lambda: None,
    ) -> None:
        self._stopping = WorkerStopping(queue, slot, generation)
        self._seconds = seconds
        self._run_exit_handlers = run_exit_handlers
        self._began_at: float | None = None
        self._have_receivers_returned = threading.Event()
        self._is_done = threading.Event()

    def begin(self) -> None:
        """Emit ``WorkerStopping`` and flush telemetry; do nothing if called again."""
        if self._began_at is not None:
            return
        self._began_at = monotonic()
        threading.Thread(target=self._run, name="partisan-ending", daemon=True).start()
        self._have_receivers_returned.wait(self._seconds / 2)
        bus.close(self._left)
        if not self._left:
            bus.emit(TelemetryFlushTimedOut, self._stopping.queue, monotonic() - self._began_at)

    def finish(self) -> None:
        """Wait for the exit handlers until the time limit, then flush the output of tasks."""
        self.begin()
        if not self._is_done.wait(self._left):
            bus.emit(ExitTimedOut, self._stopping.queue, self._seconds)
        flushing = threading.Thread(target=_flush_standard_streams, daemon=True)  # may block
        flushing.start()
        flushing.join(STREAM_FLUSH_SECONDS)

    @property
    def _left(self) -> float:
        """The seconds that are left."""
        began_at = monotonic() if self._began_at is None else self._began_at
        return max(0.0, began_at + self._seconds - monotonic())

    def _run(self) -> None:
        try:
            children.call(bus.emit, WorkerStopping, *self._stopping)
            connections.close_all()  # connections that receivers opened in this thread
        finally:
            self._have_receivers_returned.set()
        self._run_exit_handlers()
        self._is_done.set()


def _flush_standard_streams() -> None:
    print(end="", flush=True)  # print() does nothing if the stream is None
    print(end="", flush=True, file=sys.stderr)
