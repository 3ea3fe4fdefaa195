"""A program that a test starts, with a log file."""

import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.waiting import wait_until


class NotReady(AssertionError):
    """A condition was not met in time, or a program is missing."""


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

    def log_end(self) -> str:
        """Return the end of the log."""
        return self.log.read_text(errors="replace")[-4000:]

    def wait_until_it_answers(self, url: str, seconds: float = 30) -> None:
        """Wait for success at ``url``; raise with the end of the log if the process ends first."""

        def ready() -> bool:
            if self.process.poll() is not None:
                raise NotReady(f"{self.name} ended: {self.log_end()}")
            return answers(url)

        wait_until(ready, seconds, lambda: f"{self.name} at {url}\n{self.log_end()}", every=0.1)


def answers(url: str) -> bool:
    """Return whether a server answers with status 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False
