"""The fork server: a process that loads the project once, and forks workers when the manager requests them.

| request | value | answer |
|---|---|---|
| ``START``, with the worker's descriptors | its name and the packed spec | the process id |
| ``WAIT`` | a process id | the exit code of that worker, which is about to end; ``None`` if unknown |

The number of a request comes first in both. A manager whose library was replaced may start a fork server that
has the new code, so this protocol and the arguments of ``main()`` and ``worker_main()`` must not change.

This module must not import anything from Django at module level: ``worker.main`` says why.
"""

import os
import socket
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, NamedTuple

from django_partisan.engine.forkserver import bootstrap
from django_partisan.engine.forkserver.channel import START, Channel
from django_partisan.engine.worker.main import worker_main

PRELOAD: Final = "django_partisan.engine.forkserver.preload"


class WorkerToRun(NamedTuple):
    """What a new worker gets from the manager."""

    name: str
    spec: bytes
    descriptors: list[int]


def main(descriptor: int) -> None:  # pragma: no cover: fork server process
    """Serve the manager at the other end of a socket until it has ended and all workers have."""
    bootstrap.ignore_signals()
    channel = Channel(socket.socket(fileno=descriptor))
    try:
        (sys.argv, preload, can_fork), _ = channel.receive()
        if preload:
            import_module(PRELOAD)
        _flush_output()
        worker = next_worker(channel, can_fork)
    except EOFError:
        wait_for_workers()
        return
    channel.close()
    worker_main(worker.name, worker.spec, *worker.descriptors)


def next_worker(channel: Channel, can_fork: bool) -> WorkerToRun:
    """Serve requests; return in each forked process with its worker, and raise ``EOFError`` in this process.

    Without ``can_fork``, return in this process with the first worker.
    """
    while True:
        (number, kind, value), descriptors = channel.receive()
        result, error = None, 0
        if kind == START:
            try:
                result = os.fork() if can_fork else 0
            except OSError as failed:
                error = failed.errno or 0
            if result == 0:
                name, spec = value
                return WorkerToRun(name, spec, descriptors)
        else:
            result = exit_code(value)
        for descriptor in descriptors:
            os.close(descriptor)
        _answer(channel, number, result, error)


def exit_code(pid: int) -> int | None:
    """Wait for a child to end; return its exit code, negative if a signal ended it; ``None`` if unknown."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:  # a fork server before this one has forked it
        return None
    return os.waitstatus_to_exitcode(status)


def wait_for_workers() -> None:  # pragma: no cover: fork server process
    """Wait until all workers have ended: exit handlers of this process may delete folders that they use."""
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _answer(channel: Channel, *answer: Any) -> None:
    with suppress(OSError):  # the manager has ended, so the next request is the end of the channel
        channel.send(answer)


def _flush_output() -> None:  # pragma: no cover: fork server process
    """Write what the project has printed: each worker would inherit it in its buffers, and write it again."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError, ValueError):  # nobody reads it, or the project has closed it
            stream.flush()
