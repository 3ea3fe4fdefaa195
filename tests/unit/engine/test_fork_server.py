"""The fork server as its manager sees it: real processes, projects that do odd things, and errors by name."""

import errno
import multiprocessing
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from django_partisan.engine.forkserver.channel import WAIT, Channel
from django_partisan.engine.forkserver.server import Server
from django_partisan.engine.forkserver.worker_source import ForkServer, FreshProcesses, ServerProcess, launch

ENDING_PROJECT = """
import os
os._exit(3)
"""
SLOW_AND_CHATTY_PROJECT = """
import sys, time
time.sleep(1.2)
print("loaded with", sys.argv[0])
"""
PROJECT_WITH_A_TRACKER = """
from multiprocessing import get_context
lock = get_context("spawn").Lock()
"""
PROJECT_WITH_A_HELPER = """
import os, time
helper = os.fork()
if helper == 0:
    time.sleep(60)
    os._exit(0)
with open("helper.pid", "w") as file:
    file.write(str(helper))
os._exit(3)
"""
PROJECT_THAT_CANNOT_FORK_AT_FIRST = """
import errno, os
fork, counted = os.fork, []
def fail():
    counted.append(str(len(os.listdir("/proc/self/fd"))))
    if len(counted) > 3:
        with open("descriptors", "w") as file:
            file.write(counted[0] + " " + counted[-1])
        return fork()
    raise OSError(errno.EAGAIN, "too many processes")
os.fork = fail
"""
PROJECT_THAT_IGNORES_CHILDREN = """
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
"""
PROJECT_THAT_HANGS_AT_EXIT = """
import atexit, time
atexit.register(time.sleep, 60)
"""
PROJECT_WITHOUT_AN_END = """
import sys, threading, time
threading.Thread(target=time.sleep, args=(60,)).start()
sys.exit()
"""

PROJECT_THAT_TELLS_WHAT_IT_SEES = """
import multiprocessing, os, sys
print(hasattr(sys, "agent"), os.environ.get("PYTHONPATH"), multiprocessing.current_process().authkey.hex())
"""
PROJECT_WITH_MULTIPROCESSING = """
import multiprocessing.util
class Hooked:
    def after_fork(self):
        open("hooked", "w").close()
hooked = Hooked()
multiprocessing.util.register_after_fork(hooked, Hooked.after_fork)
"""
PROJECT_THAT_SHOWS_ITS_OUTPUT = """
import os
with open("output", "w") as file:
    file.write(os.readlink("/proc/self/fd/1"))
os._exit(3)
"""
LAUNCH: Final = """
from django_partisan.engine.forkserver.worker_source import launch
launch(preload=True).process.wait(30)
"""
PATIENCE_SECONDS: Final = 30

MakeSource = Callable[[str], ForkServer]


@pytest.fixture
def source_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeSource]:
    """Return a function that returns the source of workers with a project, given the end of its settings."""
    made: list[ForkServer] = []

    def make(text: str) -> ForkServer:
        (tmp_path / "odd_project.py").write_text("from tests.settings import *\n" + text)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "odd_project")
        monkeypatch.chdir(tmp_path)
        made.append(ForkServer(preload=True))
        return made[-1]

    yield make
    for source in made:
        source.close()


def _start(source: ForkServer) -> tuple[int, int]:
    """Start a worker that fails at once; return its process id, and a descriptor that shows its end."""
    ended, alive = os.pipe()
    pid = source.start("worker", b"not a spec", [alive, alive, alive, alive])
    os.close(alive)
    return pid, ended


def _exit_code(source: ForkServer, worker: tuple[int, int]) -> int | None:
    pid, ended = worker
    assert select.select([ended], [], [], PATIENCE_SECONDS)[0]
    os.close(ended)
    return source.exit_code(pid)


def _server(source: ForkServer) -> subprocess.Popen[bytes]:
    assert source._server is not None
    return source._server.process


class AnsweringServer(ForkServer):
    """A source whose fork server has already answered."""

    def __init__(self, channel: Channel) -> None:
        super().__init__(preload=False)
        self._server = ServerProcess(subprocess.Popen(["sleep", "60"]), channel)


@pytest.fixture
def channels() -> Iterator[tuple[Channel, Channel]]:
    """Return the manager's end of a channel, and the fork server's."""
    ours, theirs = socket.socketpair()
    ends = Channel(ours), Channel(theirs)
    yield ends
    for end in ends:
        end.close()


def test_an_error_of_the_fork_is_raised(channels: tuple[Channel, Channel]):
    source = AnsweringServer(channels[0])
    channels[1].send((1, None, errno.EAGAIN))

    with pytest.raises(OSError, match="the fork server cannot fork: Resource") as found:
        source.start("worker", b"", [])

    assert found.value.errno == errno.EAGAIN
    source.cancel()
    source.close()


def test_no_program_to_start_leaves_no_descriptor(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = os.listdir("/proc/self/fd")

    with pytest.raises(FileNotFoundError):
        launch(preload=False)

    assert len(os.listdir("/proc/self/fd")) == len(before)


def test_the_exit_code_of_a_worker_of_another_fork_server_is_unknown():
    before = signal.getsignal(signal.SIGCHLD)
    ours, theirs = socket.socketpair()
    manager = Channel(ours)
    manager.send((7, WAIT, os.getpid()))
    ours.shutdown(socket.SHUT_WR)

    Server(Channel(theirs), []).serve()

    signal.signal(signal.SIGCHLD, before)
    assert manager.receive() == ((7, None, 0), [])
    manager.close()


@pytest.mark.slow
def test_a_worker_that_fails_before_it_is_set_up_ends_without_the_projects_exit_handlers(
    source_of: MakeSource, capfd: pytest.CaptureFixture[str]
):
    source = source_of(PROJECT_THAT_HANGS_AT_EXIT)

    assert _exit_code(source, _start(source)) == 1
    assert "UnpicklingError" in capfd.readouterr().err
    _server(source).kill()


@pytest.mark.slow
def test_failed_forks_leave_no_descriptor(source_of: MakeSource):
    source = source_of(PROJECT_THAT_CANNOT_FORK_AT_FIRST)

    for _ in range(3):
        with pytest.raises(OSError, match="the fork server cannot fork: Resource"):
            _start(source)

    assert _exit_code(source, _start(source)) == 1
    before, after = Path("descriptors").read_text().split()
    assert after == before


@pytest.mark.slow
def test_output_that_cannot_be_written_keeps_no_worker_from_starting(
    source_of: MakeSource, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # otherwise print() itself would fail
    with open("/dev/full", "w") as full:
        before = os.dup(1)
        os.dup2(full.fileno(), 1)
        source = source_of('print("loaded")')
        try:
            assert _exit_code(source, _start(source)) == 1
        finally:
            os.dup2(before, 1)
            os.close(before)


@pytest.mark.slow
@pytest.mark.parametrize("before", ["/users/own", None])
def test_the_fork_server_runs_the_modules_of_agents_and_sees_the_users_python_path(
    before: str | None,
    source_of: MakeSource,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
):
    """Agents are found by the import path of the manager, even if PYTHONPATH no longer has their folder."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.agent = True\n")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if before is not None:
        monkeypatch.setenv("PYTHONPATH", before)
    source = source_of(PROJECT_THAT_TELLS_WHAT_IT_SEES)
    monkeypatch.setattr(sys, "path", [*sys.path, tmp_path])  # Python ignores paths that are not strings

    assert _exit_code(source, _start(source)) == 1

    key = multiprocessing.current_process().authkey.hex()
    assert capfd.readouterr().out == f"True {before} {key}\n"


@pytest.mark.slow
def test_objects_of_multiprocessing_that_the_project_has_made_learn_of_the_fork(source_of: MakeSource):
    source = source_of(PROJECT_WITH_MULTIPROCESSING)

    assert _exit_code(source, _start(source)) == 1

    assert Path("hooked").exists()


@pytest.mark.slow
def test_what_a_manager_without_standard_output_starts_writes_nowhere(source_of: MakeSource):
    source_of(PROJECT_THAT_SHOWS_ITS_OUTPUT)

    subprocess.run(
        ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, LAUNCH],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        timeout=60,
    )

    assert Path("output").read_text() == os.devnull


@pytest.mark.slow
def test_exit_codes_are_known_although_the_project_ignores_its_children(source_of: MakeSource):
    source = source_of(PROJECT_THAT_IGNORES_CHILDREN)

    assert _exit_code(source, _start(source)) == 1


@pytest.mark.slow
def test_a_project_that_ends_the_fork_server_is_an_error_with_its_exit_code(source_of: MakeSource):
    source = source_of(ENDING_PROJECT)

    with pytest.raises(
        ChildProcessError, match=r"^the fork server ended with exit code 3 before it forked the worker"
    ):
        _start(source)


@pytest.mark.slow
def test_a_dead_fork_server_is_noticed_although_a_helper_keeps_what_it_inherited(source_of: MakeSource):
    source = source_of(PROJECT_WITH_A_HELPER)

    with pytest.raises(ChildProcessError, match="ended with exit code 3"):
        _start(source)

    os.kill(int(Path("helper.pid").read_text()), signal.SIGKILL)


@pytest.mark.slow
def test_a_fork_server_that_no_longer_serves_but_does_not_end_is_replaced(source_of: MakeSource):
    source = source_of(PROJECT_WITHOUT_AN_END)

    for _ in range(2):
        with pytest.raises(ChildProcessError, match="the fork server closed its channel"):
            _start(source)
        assert _server(source).wait(20) == -signal.SIGKILL


@pytest.mark.slow
def test_a_fork_server_ends_although_the_project_has_started_a_process_that_waits_for_its_end(
    source_of: MakeSource,
):
    source = source_of(PROJECT_WITH_A_TRACKER)
    assert _exit_code(source, _start(source)) == 1

    source.close()

    assert _server(source).returncode == 0


@pytest.mark.slow
def test_a_project_that_loads_slowly_is_awaited_and_what_it_prints_is_written_once(
    source_of: MakeSource, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
):
    monkeypatch.delenv(
        "PYTHONUNBUFFERED", raising=False
    )  # otherwise nothing would be left to be written twice
    source = source_of(SLOW_AND_CHATTY_PROJECT)

    workers = [_start(source) for _ in range(2)]

    assert [_exit_code(source, worker) for worker in workers] == [1, 1]
    source.close()
    assert capfd.readouterr().out == "loaded with -c\n"


@pytest.mark.slow
def test_the_exit_code_of_a_fresh_process_is_awaited_for_a_moment_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program = tmp_path / "sleeps"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    source = FreshProcesses()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    died = source.start("worker", b"", [])
    monkeypatch.setattr(sys, "executable", str(program))
    sleeps = source.start("worker", b"", [])

    assert source.exit_code(died) == 1
    process = source._processes[sleeps]
    assert source.exit_code(sleeps) is None

    process.kill()
    process.wait(20)
    source.close()
