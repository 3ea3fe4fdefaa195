"""A manager whose workers are threads of this process, so that a test can observe and stop them."""

import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, cast

from django.db import connection, connections

from django_partisan.engine.forkserver.spawner import Spawner
from django_partisan.engine.manager.component import Component
from django_partisan.engine.manager.database_call import Deliver
from django_partisan.engine.manager.manager import CLOSE_SECONDS, Manager
from django_partisan.engine.manager.run_until import Until
from django_partisan.engine.manager.worker_process import ProcessHandle, WorkerProcess
from django_partisan.engine.worker.worker import Worker
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.telemetry.events.snapshot import Snapshot
from tests.support.database import first_value
from tests.support.engine import FakeProcess, ManagedWorker, config_of
from tests.support.waiting import PATIENCE_SECONDS, wait_until


class Gate:
    """A gate where a task waits until the test opens it; it must be opened before its manager is closed."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()

    def wait(self) -> None:
        self.begun.set()
        assert self.open.wait(PATIENCE_SECONDS)


class ThreadAsProcess(FakeProcess):
    """Ends once, whether by itself or killed."""

    def __init__(self) -> None:
        super().__init__()
        self._ending = threading.Lock()

    def end(self, code: int | None) -> None:
        with self._ending:
            if self.exitcode is None:
                super().end(code)


class ThreadWorker(ManagedWorker):
    """A worker in a thread; once killed, it has ended for its manager, whatever its task still does."""

    is_closed = False

    def __init__(self, spec: WorkerSpec, process: ThreadAsProcess, handle: ProcessHandle) -> None:
        super().__init__(spec.slot, spec.generation, handle, None)
        self.process = process

    def kill(self) -> None:
        self.was_killed = True
        self.process.end(-9)

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            super().close()


class ThreadStarter(Spawner):
    """Start workers in threads of this process."""

    def __init__(self, presence_fd: int, preload: bool, deliver: Deliver) -> None:
        self._presence_fd = presence_fd
        self._deliver = deliver
        self._workers: list[ThreadWorker] = []
        self._threads: list[threading.Thread] = []
        self._ends: list[Callable[[], None]] = []

    def start(self, spec: WorkerSpec, done: Callable[[WorkerProcess | Exception], None]) -> None:
        ours, theirs = socket.socketpair()
        bell, ring = os.pipe()
        presence = os.dup(self._presence_fd)  # a forced manager closes its own before its workers end
        process = ThreadAsProcess()
        self._ends += [theirs.close, lambda: os.close(bell), lambda: os.close(presence), process.close]

        def run() -> None:
            made = Worker(theirs.fileno(), bell, presence, spec, [])
            made.run()
            if made._sending.locked():  # a real worker process would end here with the lock held
                made._sending.release()
            connections.close_all()
            process.end(0)

        worker = ThreadWorker(spec, process, process.handle(ours, ring))
        thread = threading.Thread(target=run, name="partisan-worker")
        self._workers.append(worker)
        self._threads.append(thread)
        thread.start()
        self._deliver(lambda: done(worker))

    def collect(self, worker: WorkerProcess, done: Callable[[int | None], None]) -> None:
        code = cast(ThreadWorker, worker).process.exitcode
        self._deliver(lambda: done(code))

    def close(self, timeout: float) -> None:
        """Leave the threads running until the test ends."""

    def end(self) -> None:
        """End all threads, including those whose manager ended first, and close what they used."""
        for worker in self._workers:
            worker.close()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive()
        recalling = "partisan-control"
        wait_until(lambda: all(thread.name != recalling for thread in threading.enumerate()))
        for end in self._ends:
            end()


def end_session(role: str) -> None:
    """End a connection of the manager from outside; its next call gets no answer."""
    first_value(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database()"
        f" AND application_name = 'django_partisan {role} default'"
    )


class ManagerHarness:
    """A manager whose loop the test turns or runs."""

    def __init__(
        self, until: Until | None = None, close_seconds: float = CLOSE_SECONDS, **settings: Any
    ) -> None:
        config = config_of(**{"sleep_delay_seconds": 60, **settings})
        name: str = connection.settings_dict["NAME"]
        spec = WorkerSpec(config, name, os.getpid(), None, 5.0)
        self.manager = Manager(spec, until, ThreadStarter, close_seconds)
        self.path = self.manager._presence.path

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is due and no heartbeat is in progress."""
        return self.manager.is_idle and not self.manager._threads["pulse"].is_busy

    def snapshot(self) -> Snapshot:
        """Take a snapshot in the test's thread, which turns the loop."""
        self.manager._take_snapshot()
        return self.manager._snapshot

    def sent(self, role: str, statement: str) -> list[Any]:
        """Return a list that grows whenever the connection of a role executes ``statement``."""
        sent: list[Any] = []

        def record(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if sql == statement:
                sent.append(params)
            return execute(sql, params, many, context)

        # The first wrapper sees a statement before the others change it.
        self.manager._threads[role]._session.connection.execute_wrappers.insert(0, record)
        return sent

    def add(self, component: Component) -> None:
        """Append a component to the manager's list."""
        self.manager._components.append(component)

    def cut_off(self, role: str) -> None:
        """End a connection of the manager, and make reconnecting fail until ``reconnect()``."""
        self.manager._threads[role]._session.connection.settings_dict["PORT"] = "1"
        end_session(role)

    def reconnect(self, role: str) -> None:
        """Allow a connection to reach its server again."""
        settings = self.manager._threads[role]._session.connection.settings_dict
        settings["PORT"] = connection.settings_dict["PORT"]

    def turn_until(self, condition: Callable[[], Any]) -> None:
        """Turn the loop until ``condition`` is true."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, condition
            self.manager.turn(0.05)

    def close(self) -> None:
        """End the manager as its loop does, and end its threads."""
        if not self.manager.stop():
            self.turn_until(lambda: self.manager.is_stopped)
            self.manager._close()
        cast(ThreadStarter, self.manager._spawner).end()
