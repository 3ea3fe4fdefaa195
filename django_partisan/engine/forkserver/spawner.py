"""Start worker processes and collect their exit codes, in a thread of the manager, because both may block.

| thread | does what |
|---|---|
| the manager's loop | calls ``start()``, ``collect()``, ``cancel_starts()``; runs ``done`` with the result |
| ``partisan-spawner`` | does the work, one request after another |
"""

import os
import queue
import signal
import sys
import tempfile
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import forkserver, get_context, resource_tracker, util
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, Final

from django_partisan.engine.forkserver.bootstrap import PATH_BEFORE, SIGNALS
from django_partisan.engine.manager.database_thread import Deliver
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.pipe import ManagerEnd
from django_partisan.engine.worker.main import worker_main
from django_partisan.engine.worker_spec import WorkerSpec, packed
from django_partisan.exceptions import CannotStart

EXIT_CODE_SECONDS: Final = 1.0
# The code that multiprocessing reports when the fork server died before it could report the real one.
_UNKNOWN_EXIT_CODE: Final = 255

SET_TMPDIR: Final = "Set TMPDIR to a folder that this user can write to."
TEMPORARY_FOLDER_MAX_BYTES: Final = 107 - len("/pymp-01234567/listener-01234567")

_abandoned: Final[list[int]] = []
"""Process ids of fork servers that were replaced but may still have workers."""

METHOD: Final = "spawn" if sys.platform == "darwin" else "forkserver"


class StartCancelled(Exception):
    """The manager is stopping and needs no more workers."""


class Spawner:
    """A thread that starts workers from a fork server, one after another."""

    def __init__(self, presence_fd: int, preload: bool, deliver: Deliver, method: str = METHOD) -> None:
        self._method = method
        # multiprocessing passes descriptors as Connection objects. This one is never closed: that would
        # unlock our byte.
        self._presence = Connection(os.dup(presence_fd))
        self._deliver = deliver
        self._is_cancelled = threading.Event()
        self._context: Any = get_context(method)
        modules = [
            "django_partisan.engine.forkserver.bootstrap",
            *(["django_partisan.engine.forkserver.preload"] if preload else []),
        ]
        if method == "forkserver":
            self._context.set_forkserver_preload(modules)
        self._work: queue.SimpleQueue[tuple[Callable[[], Any], Callable[[Any], None]] | None] = (
            queue.SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="partisan-spawner", daemon=True)
        self._thread.start()

    def start(self, spec: WorkerSpec, done: Callable[[WorkerProcess | Exception], None]) -> None:
        """Start a worker; ``done`` is called in the loop with the worker or the error."""
        self._work.put((partial(self._started, spec), done))

    def collect(self, worker: WorkerProcess, done: Callable[[int | None], None]) -> None:
        """Wait for the exit code of a worker that has ended, and pass it to ``done``; ``None`` if unknown."""
        self._work.put((partial(_exit_code, worker.process, self._method), done))

    def cancel_starts(self) -> None:
        """Make all starts fail, even one that waits for the fork server; call only if no worker is alive."""
        self._is_cancelled.set()
        if self._method == "forkserver":
            _kill_fork_server()

    def close(self, timeout: float) -> None:
        """End the thread after the work already requested."""
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

    def _started(self, spec: WorkerSpec) -> WorkerProcess:
        if self._is_cancelled.is_set():
            raise StartCancelled
        ours, theirs = self._context.Pipe()
        bell, ring = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=worker_main,
            name=f"partisan-{spec.config.queue}-{spec.slot}",
            args=(theirs, bell, self._presence, packed(spec)),
        )
        try:
            with _without_main_module():
                if self._method == "forkserver":
                    _start_from_fork_server(process, self._is_cancelled)
                else:
                    process.start()
            pipe = ManagerEnd(os.dup(ours.fileno()))
            tasks_left = spec.config.tasks_per_worker_instance
            return WorkerProcess(spec.slot, spec.generation, process, pipe, os.dup(ring.fileno()), tasks_left)
        finally:
            for end in (ours, theirs, bell, ring):
                end.close()


def ensure_short_temporary_folder(method: str = METHOD) -> None:
    """Raise ``CannotStart`` if the path of the fork server's socket would be too long for a socket."""
    try:
        folder = tempfile.gettempdir()
    except OSError as error:
        raise CannotStart(f"There is no temporary folder: {error.strerror}.", SET_TMPDIR) from error
    if method == "forkserver" and len(os.fsencode(folder)) > TEMPORARY_FOLDER_MAX_BYTES:
        raise CannotStart(
            f"The path of the temporary folder {folder} is longer than {TEMPORARY_FOLDER_MAX_BYTES} bytes, "
            "too long for a socket inside it. Set TMPDIR to a shorter one."
        )


@contextmanager
def _without_main_module() -> Iterator[None]:
    """Hide the main module: a child would run it again, although it needs nothing from it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _start_from_fork_server(process: BaseProcess, given_up: threading.Event) -> None:
    """Start a process from the fork server; if its socket was removed, restart the server first.

    Programs that clean temporary folders may remove the socket of a server that has run for a long time.
    """
    _reap()
    _ensure_fork_server(given_up)
    try:
        process.start()
    except (FileNotFoundError, ConnectionRefusedError) as error:
        if given_up.is_set():  # the server was killed for this reason
            raise StartCancelled from error
        _abandon_fork_server()
        _ensure_fork_server(given_up)
        process.start()


def _abandon_fork_server() -> None:
    """Make ``ensure_running()`` start another fork server; the old one ends after the last of its workers.

    Until then it reports their exit codes. If it were killed, their sentinels would show them as ended.
    """
    server: Any = forkserver._forkserver
    _abandoned.append(server._forkserver_pid)
    os.close(server._forkserver_alive_fd)
    server._forkserver_address = server._forkserver_alive_fd = server._forkserver_pid = None


def _kill_fork_server() -> None:
    server: Any = forkserver._forkserver
    if server._forkserver_pid is not None:
        with suppress(ProcessLookupError):
            os.kill(server._forkserver_pid, signal.SIGKILL)


def _reap() -> None:
    """Collect the exit codes of abandoned fork servers that have ended, so that none stays a zombie."""
    _abandoned[:] = [pid for pid in _abandoned if os.waitpid(pid, os.WNOHANG) == (0, 0)]


def _ensure_fork_server(given_up: threading.Event) -> None:
    """Start the fork server with our import path, unless it is running.

    Before Python 3.13 the fork server ignores the path passed to it while it preloads, so the path is passed
    in the environment; ``prepare_fork_server`` restores the user's before anything else is loaded. Signals to
    the whole group are blocked until the server ignores them.
    """
    os.makedirs(util.get_temp_dir(), mode=0o700, exist_ok=True)  # the folder of its socket
    before = os.environ.get("PYTHONPATH")
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        resource_tracker.ensure_running()  # unblocks TERM and INT, which its process ignores, but no others
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        os.environ["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
        os.environ[PATH_BEFORE] = before or ""
        forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        os.environ.pop(PATH_BEFORE, None)
        if before is None:
            os.environ.pop("PYTHONPATH", None)
        else:
            os.environ["PYTHONPATH"] = before
    if given_up.is_set():  # set since: the manager may have found no server to kill
        _kill_fork_server()


def _exit_code(process: BaseProcess, method: str) -> int | None:
    process.join(EXIT_CODE_SECONDS)
    code = process.exitcode
    return None if code == _UNKNOWN_EXIT_CODE and method == "forkserver" else code
