"""The demo's child processes: the manager and the site, each with a file for what it says."""

import os
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

STOP_SECONDS = 20.0


class Child:
    """One command of `demo.manage` as a process of its own."""

    def __init__(self, log: Path, *command: str) -> None:
        self.log = log
        with log.open("wb") as file:
            # In a session of its own: a Ctrl-C reaches us alone, and we stop our children in order.
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
        """Return the exit code, or None while the process runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Ask the process to stop; end its whole session if it does not."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            raise

    def last_words(self, lines: int = 15) -> str:
        """Return the end of what the process said."""
        said = self.log.read_text(errors="replace").splitlines()
        return "\n".join(said[-lines:])
