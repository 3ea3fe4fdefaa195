"""Start managers as forks of a template process, which has imported the libraries of a manager already.

Starting the interpreter and importing libraries would take most of the CPU time of many tests.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import BinaryIO

from tests.processes.template import NUMBER
from tests.support.commands import ROOT

START_SECONDS = 60
"""The maximum time until the template has imported the libraries and forked: half a second on a free core."""
FAULT_HANDLER = {"PYTHONFAULTHANDLER": "1"}
READ_AT_START = ("PYTHON", "PROMETHEUS_", "OTEL_PROPAGATORS", "OTEL_PYTHON_CONTEXT")
"""How the names of variables begin that Python and the template's libraries read when they are loaded."""


class ForkedProcess:
    """A process forked from the template, with the methods of ``subprocess.Popen`` that tests use."""

    def __init__(self, answers: socket.socket) -> None:
        self._answers = answers
        answers.settimeout(START_SECONDS)
        self.pid = self._answer()
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit code, or ``None`` while the process runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code; raise ``subprocess.TimeoutExpired`` after ``timeout`` seconds."""
        if self.returncode is None:
            self._answers.settimeout(timeout)
            try:
                self.returncode = self._answer()
            except (BlockingIOError, TimeoutError) as error:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from error
            self._answers.close()
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def _answer(self) -> int:
        answer = self._answers.recv(NUMBER.size, socket.MSG_WAITALL)
        assert answer, "the template or the keeper of a process was killed"
        return int(NUMBER.unpack(answer)[0])


def can_fork(environment: Mapping[str, str]) -> bool:
    """Return whether a fork of the template is like a process that is started with this environment.

    Python and some libraries read their variables only when they start, and a started process inherits
    which signals this process ignores. Elsewhere than on Linux, sockets of the kind used here are missing.
    """
    is_like_template = _read_at_start(environment) == _read_at_start(os.environ | FAULT_HANDLER)
    return sys.platform == "linux" and is_like_template and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN


def fork(
    arguments: Sequence[str], environment: Mapping[str, str], out: BinaryIO, err: BinaryIO
) -> ForkedProcess:
    """Start ``python -m ARGUMENTS`` in the repository, as the leader of a new session."""
    answers, theirs = socket.socketpair()
    request = json.dumps({"arguments": list(arguments), "environment": dict(environment)})
    descriptors = [theirs.fileno(), out.fileno(), err.fileno()]
    with theirs:
        socket.send_fds(_template().requests, [request.encode()], descriptors)
    return ForkedProcess(answers)


class _Template:
    """The template of this process, which ends with this process."""

    def __init__(self) -> None:
        self.requests, theirs = socket.socketpair(type=socket.SOCK_SEQPACKET)
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.processes.template", str(theirs.fileno())],
                cwd=ROOT,
                env=os.environ | FAULT_HANDLER,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )


_template = cache(_Template)


def _read_at_start(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(READ_AT_START)}
