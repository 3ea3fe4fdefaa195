"""Run the console blocks of a page in a directory."""

import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.child import Child
from tests.support.commands import ROOT
from tests.support.consoles import Console
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from typing import Self


class Walk:
    """A reader with a shell in a project's folder; the page's ports are replaced with free ones."""

    def __init__(self, folder: Path, env: dict[str, str], ports: Mapping[str, int]) -> None:
        self.folder = folder
        self.ports = ports
        programs = f"{Path(sys.executable).parent}:{env['PATH']}"
        self.env = {**env, "PATH": programs, "PYTHONPATH": str(ROOT), "PYTHONSAFEPATH": ""}
        for name in [name for name in self.env if name.startswith("OTEL_")]:
            del self.env[name]
        self.background: list[Child] = []

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *error: object) -> None:
        with ExitStack() as stack:  # an error of one does not leave the others running
            for child in self.background:
                stack.callback(child.stop)

    def ported(self, text: str) -> str:
        """Return a text with the test's ports."""
        return re.sub(
            r"(?<=127\.0\.0\.1:)(\d+)|(?<=--metrics-port )(\d+)",
            lambda match: str(self.ports[match[0]]),
            text,
        )

    def take(self, console: Console) -> None:
        """Run the commands of one console block of the page."""
        if console.until is not None:
            [command] = console.commands
            child = Child(
                f"step-{console.line}",
                ["sh", "-c", f"exec env {self.ported(command)}"],
                self.folder,
                self.env,
            )
            self.background.append(child)
            until = console.until
            wait_until(lambda: self.run(until).returncode == 0 or self._ended(child), 60, until, every=0.1)
            return
        for command in console.commands:
            if console.patiently:
                wait_until(lambda: self.is_right(console, command, self.run(command)), 60, command, every=1)  # noqa: B023
                continue
            done = self.run(command)
            assert self.is_right(console, command, done), f"{command}\n{done.stdout}"

    def is_right(self, console: Console, command: str, done: "subprocess.CompletedProcess[str]") -> bool:
        """Return whether a command ended as the page shows."""
        return done.returncode == console.exit_code

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run one command in a shell."""
        return subprocess.run(
            self.ported(command),
            shell=True,
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )

    def _ended(self, child: Child) -> bool:
        assert child.process.poll() is None, child.log_end()
        return False
