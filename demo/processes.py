"""Run the child processes of the demo, the manager and the site, each with a log file."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tools.deferred_signals import deferred

ROOT = Path(__file__).parent.parent

STOP_SECONDS = 20.0
# Signals that stop the demo: from Ctrl-C, a supervisor, or a closed terminal.
INTERRUPTS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Child:
    """A child process that runs one command of `demo.manage`."""

    def __init__(self, log: Path, *command: str) -> None:
        self.log = log
        with log.open("wb") as file:
            # In a separate session: Ctrl-C reaches only this process, which stops its children in order.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "demo.manage", *command],
                cwd=ROOT,
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        """Return the exit code, or None while the process is running."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask the process to stop; kill its whole session if it does not."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise

    def log_end(self, lines: int = 15) -> str:
        """Return the end of the process's log."""
        said = self.log.read_text(errors="replace").splitlines()
        return "\n".join(said[-lines:])


class Children:
    """Child processes by name. All are stopped at the end of the ``with`` block."""

    def __init__(self) -> None:
        self._children: dict[str, Child] = {}

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children.values():
            child.stop()

    def start(self, name: str, log: Path, *command: str) -> Child:
        """Start a child. An interrupt in between takes effect when the child is registered."""
        with deferred(INTERRUPTS):
            child = self._children[name] = Child(log, *command)
        return child

    def ended(self) -> tuple[str, Child] | None:
        """Return the name of a child that has ended, and the child; ``None`` while all are running."""
        return next((item for item in self._children.items() if item[1].exit_code() is not None), None)
