"""The fork server: a process that loads the project once, and forks workers when the manager requests them.

| request | value | answer |
|---|---|---|
| ``START``, with the worker's descriptors | its name and the packed spec | the process id |
| ``WAIT`` | a process id | the exit code of that worker, which has ended; ``None`` if unknown |

The number of a request comes first in both, and the number of the error last in an answer. A manager whose
library was replaced may start a fork server that has the new code, so this protocol and the arguments of
``main()`` and ``worker_main()`` must not change.

This module must not import anything from Django at module level: ``worker.main`` says why.
"""

import io
import multiprocessing
import os
import signal
import socket
import sys
import time
import traceback
from contextlib import suppress
from importlib import import_module
from typing import Any, Final

from django_partisan.engine.forkserver import bootstrap
from django_partisan.engine.forkserver.channel import EXIT_CODE_SECONDS, START, Channel
from django_partisan.engine.worker.main import worker_main

PRELOAD: Final = "django_partisan.engine.forkserver.preload"
POLL_SECONDS: Final = 0.005
_fork: Final = multiprocessing.get_context("fork")


def main(descriptor: int) -> None:  # pragma: no cover: fork server process
    """Serve the manager at the other end of a socket until it has ended and all workers have.

    If the platform cannot fork, become the first worker.
    """
    _open_standard_streams()
    os.set_inheritable(descriptor, False)
    bootstrap.ignore_signals()
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        (preload, authkey, can_fork, argv), _ = channel.receive()
        multiprocessing.current_process().authkey = authkey
        if not can_fork:
            (name, spec, descriptors), _ = channel.receive()
            channel.close()
            for inherited in descriptors:
                os.set_inheritable(inherited, False)
            sys.argv = argv
            worker_main(name, spec, *descriptors)
        if preload:
            import_module(PRELOAD)
        _drop_unwritable_output()
    except EOFError:  # the manager has ended
        return
    Server(channel, argv).serve()


class Server:  # pragma: no cover: fork server process
    """The loop of the fork server, and the processes that it has forked."""

    def __init__(self, channel: Channel, argv: list[str]) -> None:
        self._channel = channel
        self._argv = argv
        self._workers: dict[int, Any] = {}
        self._start_method = multiprocessing.get_start_method(allow_none=True)
        # If it is ignored, the kernel discards exit codes.
        self._on_child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def serve(self) -> None:
        """Answer requests until the manager has ended; then wait for the workers.

        Exit handlers of this process may delete folders that they use.
        """
        with suppress(EOFError):
            while True:
                (number, kind, value), descriptors = self._channel.receive()
                if kind == START:
                    name, spec = value
                    result, error = self._start(name, spec, descriptors)
                else:
                    result, error = self._exit_code(value), 0
                with suppress(OSError):  # the manager has ended, so the next request is the end
                    self._channel.send((number, result, error))
        self._channel.close()
        for process in self._workers.values():
            process.join()

    def _start(self, name: str, spec: bytes, descriptors: list[int]) -> tuple[int | None, int]:
        """Fork a worker; return its process id, and 0 or the number of the error."""
        process = _fork.Process(target=self._become_worker, args=(name, spec, descriptors), name=name)
        try:
            process.start()
        except OSError as error:
            _close_pipes_of(error)
            return None, error.errno or 0
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        assert process.pid is not None
        self._workers[process.pid] = process
        return process.pid, 0

    def _become_worker(self, name: str, spec: bytes, descriptors: list[int]) -> None:
        """Run a worker in a forked process.

        If it fails before it can end by itself, end without the exit handlers and threads of the project.
        """
        self._channel.close()
        signal.signal(signal.SIGCHLD, self._on_child)
        multiprocessing.set_start_method(self._start_method, force=True)
        sys.argv = self._argv
        try:
            worker_main(name, spec, *descriptors)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def _exit_code(self, pid: int) -> int | None:
        """Return the exit code of a worker; ``None`` if another fork server has forked it.

        A debugger may keep a process that has ended, so wait for a limited time.
        """
        process = self._workers.get(pid)
        until = time.monotonic() + EXIT_CODE_SECONDS / 2
        while process is not None and process.exitcode is None and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        code: int | None = None if process is None else process.exitcode
        if code is not None:
            self._workers.pop(pid).close()
        return code


def _close_pipes_of(error: OSError) -> None:  # pragma: no cover: fork server process
    """Close the pipes that ``multiprocessing`` leaves open when it cannot fork: it may fail many times."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for name in ("parent_r", "child_w", "child_r", "parent_w"):
            if isinstance(descriptor := frame.f_locals.get(name), int):
                os.close(descriptor)


def _drop_unwritable_output() -> None:  # pragma: no cover: fork server process
    """Drop what the project has printed but cannot be written: each fork would fail to write it again."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            if stream is not None:
                stream.flush()
        except ValueError:  # the project has closed it
            continue
        except OSError:
            empty = io.FileIO(stream.fileno(), "w", closefd=False)
            setattr(sys, name, io.TextIOWrapper(io.BufferedWriter(empty), stream.encoding, stream.errors))


def _open_standard_streams() -> None:  # pragma: no cover: fork server process
    """Open those of the first three descriptors that are closed, which sockets would get otherwise."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
