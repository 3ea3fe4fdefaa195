"""Find, start and query the programs used by the tests with real parts."""

import json
import shutil
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.waiting import wait_until
from tools import parts
from tools.parts.go_programs import PROMETHEUS

HOST = "127.0.0.1"


class NotReady(AssertionError):
    """A condition was not met in time, or a program is missing."""


def program(name: str) -> str:
    """Return the path of a program: of the Prometheus 3 that was built, or else as installed.

    If there is none, raise with the command to install it.
    """
    with suppress(parts.PartMissing):
        if (built := parts.find(PROMETHEUS).with_name(name)).exists():
            return str(built)
    path = shutil.which(name)
    if path is None:
        raise NotReady(
            f"{name} is missing; on Debian: apt-get install prometheus prometheus-alertmanager, "
            f"or run make parts PARTS={PROMETHEUS.name}"
        )
    return path


def free_port() -> int:
    """Return a port that is currently free."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def listens(port: int) -> bool:
    """Return whether something accepts connections on a port."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def get(url: str, **query: Any) -> Any:
    """Return the JSON answer of a server; raise ``NotReady`` with the server's text for an error."""
    try:
        with urllib.request.urlopen(f"{url}?{urllib.parse.urlencode(query)}", timeout=10) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        raise NotReady(f"{url} {query}: {error.read().decode()}") from error


def answers(url: str) -> bool:
    """Return whether a server answers with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


class Child:
    """A process that writes to a log file and can always be ended."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        env: Mapping[str, str] | None = None,
        stdin: int | None = None,
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=stdin, stdout=log, stderr=subprocess.STDOUT, env=env
            )

    def stop(self, seconds: float = 20) -> int:
        """Terminate the process, kill it after ``seconds``, and return its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> None:
        """Kill the process, as in a crash."""
        self.process.kill()
        self.process.wait()

    def last_words(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-4000:]

    def wait_until_it_answers(self, url: str, seconds: float = 30) -> None:
        """Wait for success at ``url``; raise with the end of the log if the process ends first."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise NotReady(f"{self.name} ended: {self.last_words()}")
            return answers(url)

        wait_until(ready, seconds, lambda: f"{self.name} at {url}\n{self.last_words()}", every=0.1)
