"""The demo does its work, reports the outcomes, and leaves no process behind."""

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.commands import ROOT
from tests.support.demo import number_of
from tests.support.progress import descendants, progress_of
from tests.support.waiting import wait_until

# How long a demo may make no progress.
SECONDS = 60.0

# Inherited by every process of a run, so that processes left behind can be distinguished from other runs'.
MARK = "DEMO_TEST_RUN"

WITHOUT_PROXIES = urllib.request.build_opener(urllib.request.ProxyHandler({}))

# The demo accepts failed tasks whose files are invalid; here it finds every file valid.
NOTHING_MAY_FAIL = """
import runpy, demo.library
demo.library.is_valid = lambda path: True
runpy.run_module("demo", run_name="__main__")
"""

INTERRUPTED_AS_A_CHILD_STARTS = """
import os, runpy, signal, subprocess, time
from pathlib import Path
start = subprocess.Popen.__init__
def start_and_interrupt(self, command, *args, **kwargs):
    start(self, command, *args, **kwargs)
    if "start_partisan" in command:
        while "Serving" not in Path(kwargs["stdout"].name).read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
subprocess.Popen.__init__ = start_and_interrupt
runpy.run_module("demo", run_name="__main__")
"""


class Run:
    """A demo in a separate process, and all its descendants."""

    def __init__(self, output: Path, *options: str, code: str | None = None) -> None:
        self.output = output
        self.said = output / "said.txt"
        self._mark = uuid.uuid4().hex
        output.mkdir(exist_ok=True)
        start = ["-c", code] if code else ["-m", "demo"]
        with self.said.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *start, "--output", str(output), *options],
                cwd=ROOT,
                env=os.environ | {MARK: self._mark, "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def text(self) -> str:
        return self.said.read_text()

    def exit_code(self) -> int:
        wait_until(lambda: self.process.poll() is not None, SECONDS, self.text, progress=self.progress())
        return self.process.wait()

    def progress(self) -> Callable[[], object]:
        """Return the ``progress`` argument of ``wait_until()`` for the demo."""
        return progress_of(lambda: descendants(self.process.pid), SECONDS)

    def left_behind(self) -> list[str]:
        """Return the command lines of processes of this run that are still alive."""
        mark = f"{MARK}={self._mark}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:  # it has just ended, or belongs to another user
                continue
        return found


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(*options: str, code: str | None = None) -> Run:
        runs.append(Run(tmp_path / f"output-{len(runs)}", *options, code=code))
        return runs[-1]

    yield start
    for run in runs:
        if run.process.poll() is None:
            run.process.terminate()
            run.exit_code()


def wait_for(condition: Callable[[], object], run: Run) -> None:
    wait_until(
        lambda: condition() or run.process.poll() is not None, SECONDS, run.text, progress=run.progress()
    )
    assert condition(), run.text()


def answers(url: str) -> bool:
    try:
        with WITHOUT_PROXIES.open(url, timeout=10) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, ConnectionError):
        return False


def test_a_task_that_ends_otherwise_than_expected_makes_the_exit_code_1(demo):
    run = demo("--files", "5", code=NOTHING_MAY_FAIL)

    assert run.exit_code() == 1
    assert number_of(run.text(), "unaccounted for") >= 1
    assert "SyntaxError" in run.text()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads the processes from /proc")
def test_a_signal_as_a_child_starts_leaves_nothing_behind(demo):
    run = demo(code=INTERRUPTED_AS_A_CHILD_STARTS)

    assert run.exit_code() == 128 + signal.SIGINT
    assert run.left_behind() == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads the processes from /proc")
def test_a_signal_in_the_middle_leaves_nothing_behind(demo):
    run = demo()
    wait_for(lambda: "Starting a manager and its workers" in run.text(), run)

    run.process.send_signal(signal.SIGINT)

    assert run.exit_code() == 128 + signal.SIGINT
    assert "Interrupted." in run.text()
    assert run.left_behind() == []


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads the processes from /proc")
def test_the_site_and_the_manager_stay_until_a_signal_and_leave_nothing_behind(demo):
    run = demo("--serve", "--files", "5")
    wait_for(lambda: "Ctrl-C stops" in run.text(), run)
    site = re.findall(r"(http://\S+)/admin/", run.text())[0]

    wait_for(lambda: answers(f"{site}/admin/"), run)
    wait_for(lambda: answers(f"{site}/report/"), run)
    run.process.send_signal(signal.SIGTERM)

    assert run.exit_code() == 0, run.text()
    assert run.left_behind() == []
