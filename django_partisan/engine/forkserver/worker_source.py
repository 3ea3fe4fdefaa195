"""The manager's side of the processes that become workers: forks of a fork server, or fresh processes."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

from django_partisan.engine.forkserver.bootstrap import SIGNALS
from django_partisan.engine.forkserver.channel import START, WAIT, Channel

EXIT_CODE_SECONDS: Final = 1.0
_PROGRAM: Final = "import sys; sys.path[:] = {path!r}; from {module} import main; main({descriptor})"
_MODULE: Final = "django_partisan.engine.forkserver.server"


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


class ForkServer:
    """A fork server, which is started for the first worker, and again for the next one after it has died."""

    def __init__(self, preload: bool) -> None:
        self._preload = preload
        self._is_cancelled = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel | None = None
        self._number = 0

    def start(self, name: str, spec: bytes, descriptors: Sequence[int]) -> int:
        """Fork a worker; raises ``OSError`` if that fails, ``ChildProcessError`` if the server died."""
        channel = self._ensure_server()
        try:
            pid, error = self._result(channel, START, (name, spec), descriptors)
        except (EOFError, OSError) as lost:
            if self._is_cancelled.is_set():
                raise StartCancelled from lost
            raise ChildProcessError(f"the fork server {self._ending()} before it forked the worker") from lost
        if error:
            raise OSError(error, f"the fork server cannot fork: {os.strerror(error)}")
        return int(pid)

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a worker that has ended; ``None`` if its fork server has died or hangs."""
        assert self._channel is not None  # it has started the worker
        try:
            code, _ = self._result(self._channel, WAIT, pid, timeout=EXIT_CODE_SECONDS)
        except (EOFError, OSError):  # includes TimeoutError
            return None
        return None if code is None else int(code)

    def cancel(self) -> None:
        """Kill the server, which may be loading much code; call only if no worker is alive."""
        self._is_cancelled.set()
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """End the server, unless it hangs."""
        if self._channel is not None and self._process is not None:
            self._channel.close()
            self._channel = None
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_CODE_SECONDS)

    def _ensure_server(self) -> Channel:
        if self._channel is not None and self._process is not None and self._process.poll() is None:
            return self._channel
        if self._channel is not None:
            self._channel.close()
        if self._is_cancelled.is_set():
            raise StartCancelled
        self._process, self._channel = launch(self._preload, can_fork=True)
        if self._is_cancelled.is_set():  # set since: the manager may have found no server to kill
            self._process.kill()
        return self._channel

    def _result(
        self,
        channel: Channel,
        kind: str,
        value: object,
        descriptors: Sequence[int] = (),
        timeout: float | None = None,
    ) -> tuple[Any, int]:
        """Send a request; return the result and the number of the error in its answer."""
        self._number += 1
        channel.send((self._number, kind, value), descriptors)
        while True:
            (number, result, error), _ = channel.receive(timeout)
            if number == self._number:  # others answer requests that timed out
                return result, error

    def _ending(self) -> str:
        assert self._process is not None
        try:
            return f"ended with exit code {self._process.wait(EXIT_CODE_SECONDS)}"
        except subprocess.TimeoutExpired:
            return "closed its channel"


class FreshProcesses:
    """A new process for each worker, where a process that has loaded the project cannot be forked."""

    def __init__(self) -> None:
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._is_cancelled = threading.Event()

    def start(self, name: str, spec: bytes, descriptors: Sequence[int]) -> int:
        """Start a process that becomes the worker."""
        if self._is_cancelled.is_set():
            raise StartCancelled
        process, channel = launch(preload=False, can_fork=False)
        self._processes[process.pid] = process
        channel.send((0, START, (name, spec)), descriptors)
        channel.close()
        return process.pid

    def exit_code(self, pid: int) -> int | None:
        """Return the exit code of a worker that has ended."""
        return self._processes.pop(pid).wait()

    def cancel(self) -> None:
        """Make all later starts fail; a start never takes long."""
        self._is_cancelled.set()

    def close(self) -> None:
        """Do nothing: each process ends with its worker."""


def launch(preload: bool, can_fork: bool) -> tuple[subprocess.Popen[bytes], Channel]:
    """Start the program of the fork server with the import path and arguments of this process.

    Signals to the whole group are blocked until the new process ignores them.
    """
    ours, theirs = socket.socketpair()
    program = _PROGRAM.format(
        path=[path or os.getcwd() for path in sys.path], module=_MODULE, descriptor=theirs.fileno()
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        process = subprocess.Popen(
            [sys.executable, *subprocess._args_from_interpreter_flags(), "-c", program],  # type: ignore[attr-defined]
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
    except OSError:
        ours.close()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()
    channel = Channel(ours)
    channel.send((list(map(str, sys.argv)), preload, can_fork))
    return process, channel
