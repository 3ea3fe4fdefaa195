"""A test run whose terminal is closed leaves nothing behind."""

import os
import pty
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.progress import progress_of
from tests.support.waiting import PATIENCE_SECONDS, wait_until
from tools import database_url, run_guard

# Starts a session with its input as controlling terminal, as a log-in does, and becomes pytest.
START = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "pytest", *sys.argv[1:]])
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="t-"))  # pytest's own paths are too long for sockets
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


def left_in(folder: Path) -> list[str]:
    """Return what a run left, except the folders that pytest keeps for inspection."""
    return [path.name for path in folder.iterdir() if not path.name.startswith("pytest-of-")]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads the processes from /proc")
def test_tests_whose_terminal_is_closed_leave_no_process_server_or_folder(temporary):
    mark = uuid.uuid4().hex
    ready = temporary / "pytest-of-test-ready"
    chosen = ("DATABASE_URL", *database_url.LIBPQ_PLACES, "PGDATABASE", "PYTEST_DEBUG_TEMPROOT")
    environment = {name: value for name, value in os.environ.items() if name not in chosen}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", START, "tests/processes/left_running.py", "-n", "1", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env=environment | {"TERMINAL_TEST": mark, "TMPDIR": str(temporary), "READY_FILE": str(ready)},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        wait_until(
            lambda: ready.exists() or process.poll() is not None,
            what="the inner test runs",
            progress=progress_of(lambda: run_guard.marked(mark), PATIENCE_SECONDS),
        )
        running = len(run_guard.marked(mark))

        os.close(ours)

        assert process.wait(PATIENCE_SECONDS) != 0
        wait_until(lambda: not run_guard.marked(mark), what=lambda: f"alive: {run_guard.marked(mark)}")
        wait_until(lambda: not left_in(temporary), what=lambda: f"left: {left_in(temporary)}")
    finally:
        run_guard.clean_up(mark, Path(os.devnull, "none"))
        process.wait()
    assert running >= 8, "pytest and its worker, a manager, fork server, worker and child, a server, guards"
