"""The manager's side of the processes that become workers: forks of a fork server, or fresh processes."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol

from django_partisan.engine.forkserver.bootstrap import SIGNALS
from django_partisan.engine.forkserver.channel import EXIT_CODE_SECONDS, START, WAIT, Channel

_MODULE: Final = "django_partisan.engine.forkserver.server"
# The variable makes `site` find what the manager has found, such as an agent's sitecustomize module. Programs
# that a task starts must see the user's value.
_PROGRAM: Final = """\
import os, sys
os.environ.pop("PYTHONPATH", None)
os.environ.update({variables!r})
sys.path[:] = {path!r}
from {module} import main
main({descriptor})
"""


class StartCancelled(Exception):
    """The manager is stopping and needs no more workers."""


class WorkerSource(Protocol):
    """An object that starts worker processes, in one thread."""

    def start(self, name: str, spec: bytes, descriptors: Sequence[int]) -> int:
        """Start a worker with a name, a packed spec and descriptors; return its process id."""

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a worker that has ended, ``None`` if it is unknown."""

    def cancel(self) -> None:
        """Make a start that is under way fail, and all later ones; may be called in another thread."""

    def close(self) -> None:
        """Start no more workers; those that are alive are not affected."""


class ServerProcess(NamedTuple):
    """A process that runs the program of the fork server, and the channel to it."""

    process: subprocess.Popen[bytes]
    channel: Channel


class ForkServer:
    """A fork server, which is started for the first worker, and again for the next one after it has died."""

    def __init__(self, preload: bool) -> None:
        self._preload = preload
        self._is_cancelled = threading.Event()
        self._server: ServerProcess | None = None
        self._number = 0

    def start(self, name: str, spec: bytes, descriptors: Sequence[int]) -> int:
        """Fork a worker; raises ``OSError`` if that fails, ``ChildProcessError`` if the server died."""
        server = self._ensure_server()
        try:
            pid, error = self._result(server, START, (name, spec), descriptors)
        except (EOFError, OSError) as lost:
            if self._is_cancelled.is_set():
                raise StartCancelled from lost
            ending = _end(server.process)
            raise ChildProcessError(f"the fork server {ending} before it forked the worker") from lost
        if error:
            raise OSError(error, f"the fork server cannot fork: {os.strerror(error)}")
        return int(pid)

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a worker that has ended; ``None`` if its fork server has died or hangs."""
        assert self._server is not None  # it has started the worker
        if self._server.process.poll() is not None:
            return None
        try:
            code, _ = self._result(self._server, WAIT, pid, is_awaited=False)
        except (EOFError, OSError):  # includes TimeoutError
            return None
        return None if code is None else int(code)

    def cancel(self) -> None:
        """Kill the server, which may be loading much code; call only if no worker is alive."""
        self._is_cancelled.set()
        if self._server is not None:
            self._server.process.kill()

    def close(self) -> None:
        """End the server, unless it hangs."""
        if self._server is not None:
            self._server.channel.close()
            with suppress(subprocess.TimeoutExpired):
                self._server.process.wait(EXIT_CODE_SECONDS)

    def _ensure_server(self) -> ServerProcess:
        if self._server is not None:
            if self._server.process.poll() is None:
                return self._server
            self._server.channel.close()
        if self._is_cancelled.is_set():
            raise StartCancelled
        self._server = server = launch(self._preload)
        if self._is_cancelled.is_set():  # set since: the loop may have found no server to kill
            server.process.kill()
        return server

    def _result(
        self,
        server: ServerProcess,
        kind: str,
        value: object,
        descriptors: Sequence[int] = (),
        is_awaited: bool = True,
    ) -> tuple[Any, int]:
        """Send a request; return the result and the number of the error in its answer.

        Raises ``TimeoutError`` if the answer is late, unless it ``is_awaited`` as long as the server lives.
        """
        self._number += 1
        server.channel.send((self._number, kind, value), descriptors)
        while True:
            try:
                (number, result, error), _ = server.channel.receive(EXIT_CODE_SECONDS)
            except TimeoutError:
                # A process that the project has forked may keep the channel of a dead server open.
                if is_awaited and server.process.poll() is None:
                    continue
                raise
            if number == self._number:  # others answer requests that timed out
                return result, error


class FreshProcesses:
    """A new process for each worker, where a process that has loaded the project cannot be forked."""

    def __init__(self) -> None:
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._is_cancelled = threading.Event()

    def start(self, name: str, spec: bytes, descriptors: Sequence[int]) -> int:
        """Start a process that becomes the worker; it inherits the descriptors.

        On macOS, descriptors in a socket may be shut down before the new process receives them.
        """
        if self._is_cancelled.is_set():
            raise StartCancelled
        process, channel = launch(preload=False, inherited=descriptors)
        self._processes[process.pid] = process
        with suppress(OSError):  # it has died, which its exit code shows
            channel.send((name, spec, list(descriptors)))
        channel.close()
        return process.pid

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a worker that has ended."""
        try:
            return self._processes.pop(pid).wait(EXIT_CODE_SECONDS)
        except subprocess.TimeoutExpired:  # a debugger keeps it
            return None

    def cancel(self) -> None:
        """Make all later starts fail; a start never takes long."""
        self._is_cancelled.set()

    def close(self) -> None:
        """Do nothing: each process ends with its worker."""


def launch(preload: bool, inherited: Sequence[int] | None = None) -> ServerProcess:
    """Start the program of the fork server with the import path of this process.

    With ``inherited`` descriptors, it becomes a worker itself. Signals to the whole group are blocked until
    the new process ignores them.
    """
    ours, theirs = socket.socketpair()
    entries: list[Any] = list(sys.path)
    path = [entry or os.getcwd() for entry in entries if isinstance(entry, str)]  # Python ignores others, too
    before = {name: value for name, value in os.environ.items() if name == "PYTHONPATH"}
    program = _PROGRAM.format(variables=before, path=path, module=_MODULE, descriptor=theirs.fileno())
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        process = subprocess.Popen(
            [sys.executable, *subprocess._args_from_interpreter_flags(), "-c", program],  # type: ignore[attr-defined]
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
            pass_fds=[theirs.fileno(), *(inherited or ())],
        )
    except BaseException:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
    channel = Channel(ours)
    authkey = bytes(multiprocessing.current_process().authkey)
    with suppress(OSError):  # it has died, which the next call on the channel shows
        channel.send((preload, authkey, inherited is None, list(map(str, sys.argv))))
    return ServerProcess(process, channel)


def _end(process: subprocess.Popen[bytes]) -> str:
    """Return how a process ended that no longer answers; kill it if it has not."""
    try:
        return f"ended with exit code {process.wait(EXIT_CODE_SECONDS)}"
    except subprocess.TimeoutExpired:
        process.kill()
        with suppress(subprocess.TimeoutExpired):
            process.wait(EXIT_CODE_SECONDS)
        return "closed its channel"
