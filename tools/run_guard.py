"""Leave nothing of a run: when its process has ended, however it ended, end what it started.

A closed terminal, a SIGKILL or a crash ends a test run without its own cleaning up, while managers and
programs that it started in sessions of their own live on. So a guard stands beside the run, in another
session. Every process of the run inherits a variable by which the guard finds it, and a folder for
temporary files. The ordinary end takes the same path.

The PostgreSQL servers of `tools.postgres` have a guard of their own, which ends them in order.
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
    """Yield the variables that mark the processes of a run, for the length of a `with` block."""
    mark = uuid.uuid4().hex
    folder = Path(tempfile.mkdtemp(prefix="pr-"))  # short: sockets lie in it, whose paths have a limit
    folder.chmod(0o711)  # PostgreSQL, which does not run as root, has its folder in it
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
        # A run inside of another one has the marks of both.
        yield {RUN_MARK: f"{outer}/{mark}" if outer else mark, "TMPDIR": str(folder)}
    finally:
        guard.communicate(b"done")


def marked(mark: str) -> list[int]:
    """Return the ids of the processes that were started with a mark and are alive."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if state not in "ZX" and mark.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:  # it ended meanwhile, or is another user's
            continue
    return found


def clean_up(mark: str, folder: Path) -> None:
    """Kill the processes of a run, and remove its folder."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    # Again, because one that was about to fork may have done so.
    while (left := marked(mark)) and time.monotonic() < deadline:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)
    # PostgreSQL's guard removes its folder in this one meanwhile.
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(POLL_SECONDS)


def main() -> None:
    """Wait for the run's end, then clean up."""
    owner, mark, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    wait_for_owner(owner)
    clean_up(mark, folder)


if __name__ == "__main__":
    main()
