"""Stop a server and remove its folder when its owner is done with it or has died.

One such process runs beside each server, in its own session, so that neither Ctrl-C nor a SIGKILL of the
owner's process group reaches it. It also stops the server at a normal end, so every run tests the code that
must work after a crash. It is started by its path, from any working directory, so it imports only the
standard library.
"""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

# In an immediate shutdown, the server kills processes that do not react within five seconds.
PATIENCE_SECONDS = 10.0
POLL_SECONDS = 0.02


def main() -> None:
    """Wait for the owner, then clean up."""
    base, owner = Path(sys.argv[1]), int(sys.argv[2])
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    wait_for_owner(owner)
    clean_up(base)


def wait_for_owner(owner: int) -> None:
    """Return when the owner writes to the pipe, closes it or dies."""
    # Forked children of the owner keep the pipe open after its death, so check the parent's id, too.
    while os.getppid() == owner:
        if select.select([sys.stdin], [], [], 0.5)[0]:
            return


def clean_up(base: Path) -> None:
    """Stop the server in a folder, if there is one, and remove the folder."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    # Repeat, because an initdb or pg_ctl of the dead owner may still be writing.
    while base.exists() and time.monotonic() < deadline:
        if pid := postmaster(base / "data"):
            stop(pid, base / "data")
        shutil.rmtree(base, ignore_errors=True)
        time.sleep(POLL_SECONDS)


def stop(pid: int, data: Path) -> None:
    """Stop a server by an immediate shutdown, and kill it if that takes too long."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGQUIT)
        os.kill(pid, signal.SIGCONT)  # a test may have frozen it
        while str(data) in _command_line(pid):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_SECONDS)


def postmaster(data: Path) -> int | None:
    """Return the process id of the server that uses a data folder, None if there is none."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
    except (OSError, ValueError):
        return None
    # A killed server leaves its file behind, and another process may have its id by now.
    return pid if str(data) in _command_line(pid) else None


def _command_line(pid: int) -> str:
    if not Path("/proc/self").exists():
        return subprocess.run(
            ["ps", "-o", "command=", "-p", str(pid)], stdout=subprocess.PIPE, text=True, check=False
        ).stdout
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    main()
