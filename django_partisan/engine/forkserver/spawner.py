"""Start worker processes and collect their exit codes, in a thread of the manager, because both may block.

| thread | does what |
|---|---|
| the manager's loop | calls ``start()``, ``collect()``, ``cancel_starts()``; runs ``done`` with the result |
| ``partisan-spawner`` | does the work, one request after another |
"""

import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from multiprocessing.connection import Pipe
from typing import Any, Final

from django_partisan.engine.forkserver.worker_source import ForkServer, FreshProcesses, WorkerSource
from django_partisan.engine.manager.database_call import Deliver
from django_partisan.engine.manager.worker_process import ProcessHandle, WorkerProcess, exit_descriptor
from django_partisan.engine.pipe import ManagerEnd
from django_partisan.engine.worker_spec import WorkerSpec, packed

METHOD: Final = "spawn" if sys.platform == "darwin" else "forkserver"


class Spawner:
    """A thread that starts workers, one after another."""

    def __init__(self, presence_fd: int, preload: bool, deliver: Deliver, method: str = METHOD) -> None:
        self._source: WorkerSource = ForkServer(preload) if method == "forkserver" else FreshProcesses()
        self._presence_fd = presence_fd
        self._deliver = deliver
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="partisan-spawner", daemon=True)
        self._thread.start()

    def start(self, spec: WorkerSpec, done: Callable[[WorkerProcess | Exception], None]) -> None:
        """Start a worker; ``done`` is called in the loop with the worker or the error."""
        self._work.put((partial(self._started, spec), done))

    def collect(self, worker: WorkerProcess, done: Callable[[int | None], None]) -> None:
        """Get the exit code of a worker that has ended, and pass it to ``done``; ``None`` if unknown."""
        self._work.put((partial(self._source.exit_code, worker.pid), done))

    def cancel_starts(self) -> None:
        """Make all starts fail, even one that waits for the fork server; call only if no worker is alive."""
        self._source.cancel()

    def close(self, timeout: float) -> None:
        """End the thread after the work already requested, and then the fork server."""
        self._work.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        while (asked := self._work.get()) is not None:
            work, done = asked
            try:
                result = work()
            except Exception as error:  # the loop emits it and tries again
                result = error
            self._deliver(partial(done, result))
            del asked, work, done, result  # otherwise the last collected worker keeps its descriptors open
        self._source.close()

    def _started(self, spec: WorkerSpec) -> WorkerProcess:
        data = packed(spec)
        with ExitStack() as ends:
            ours, theirs = map(ends.enter_context, Pipe())
            bell, ring = map(ends.enter_context, Pipe(duplex=False))
            sentinel, alive = map(ends.enter_context, Pipe(duplex=False))
            descriptors = [theirs.fileno(), bell.fileno(), self._presence_fd, alive.fileno()]
            pid = self._source.start(f"partisan-{spec.config.queue}-{spec.slot}", data, descriptors)
            handle = ProcessHandle(
                pid,
                exit_descriptor(pid, sentinel.fileno()),
                ManagerEnd(os.dup(ours.fileno())),
                os.dup(ring.fileno()),
            )
        return WorkerProcess(spec.slot, spec.generation, handle, spec.config.tasks_per_worker_instance)
