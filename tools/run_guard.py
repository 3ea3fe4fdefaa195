"""Kill the processes and remove the temporary files that a run left behind, however it ended.

A closed terminal, a SIGKILL or a crash ends a test run without cleanup, while managers and programs that it
started in other sessions keep running. So a guard process runs beside it, in a separate session. All
processes of the run inherit an environment variable, by which the guard finds them, and a folder for
temporary files. The guard also cleans up after a normal end.

The PostgreSQL servers of `tools.postgres` have their own guard, which shuts them down properly.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tools.marks import RUN_MARK, unmarked
from tools.postgres.watchdog import wait_for_owner

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 10.0
POLL_SECONDS = 0.02


@contextmanager
def guarded() -> Iterator[dict[str, str]]:
    """Yield the variables for the processes of a run, and clean up at the end of the `with` block."""
    mark = uuid.uuid4().hex
    folder = Path(tempfile.mkdtemp(prefix="pr-"))  # short: it has sockets, whose paths are limited
    folder.chmod(0o711)  # so that PostgreSQL, which is not root, can enter it
    guard = subprocess.Popen(
        [sys.executable, "-m", "tools.run_guard", str(os.getpid()), mark, str(folder)],
        cwd=ROOT,
        env=unmarked(os.environ),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    outer = os.environ.get(RUN_MARK)
    try:
        # A run inside another run has the marks of both.
        yield {RUN_MARK: f"{outer}/{mark}" if outer else mark, "TMPDIR": str(folder)}
    finally:
        guard.communicate(b"done")


def marked(mark: str) -> list[int]:
    """Return the ids of live processes that were started with a mark."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and mark.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


def clean_up(mark: str, folder: Path) -> None:
    """Kill the processes of a run and remove its folder."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    # Repeat, because a process may have forked before it was killed.
    while (left := marked(mark)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    # PostgreSQL's guard may still be removing its own folder inside this one.
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(POLL_SECONDS)


def main() -> None:
    """Wait for the end of the run, then clean up."""
    owner, mark, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    wait_for_owner(owner)
    clean_up(mark, folder)


if __name__ == "__main__":
    main()
