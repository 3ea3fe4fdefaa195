"""The spawner: workers come from a fork server, or fresh, and nothing of that leaks into this process."""

import os
import selectors
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from multiprocessing import forkserver, get_context, util
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

import pytest

from django_partisan.engine.forkserver import spawner as spawning
from django_partisan.engine.forkserver.spawner import (
    TEMPORARY_FOLDER_MAX_BYTES,
    Spawner,
    ensure_short_temporary_folder,
)
from django_partisan.engine.manager.loop_calls import LoopCalls
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.pipe import PipeError
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.protocol import Flushed, Ready, Retiring, Returned, Stop
from django_partisan.exceptions import CannotStart
from tests.support.engine import FakeWorker, spec_of
from tests.support.progress import progress_of
from tests.support.waiting import wait_until

PATIENCE_SECONDS = 30.0


class Loop:
    """The part of the manager's loop that a spawner needs."""

    def __init__(self) -> None:
        self.wakeup = LoopCalls()

    def result(self, ask: Callable[[Callable[[Any], None]], None]) -> Any:
        """Return the result that ``ask`` delivers."""
        results: list[Any] = []
        ask(results.append)
        with selectors.DefaultSelector() as selector:
            selector.register(self.wakeup.fd, selectors.EVENT_READ)
            while not results:
                assert selector.select(PATIENCE_SECONDS)
                self.wakeup.run_delivered()
        return results[0]


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.wakeup.close()


@pytest.fixture
def spawner(loop: Loop, presence: PresenceFile) -> Iterator[Spawner]:
    made = Spawner(presence.fd, preload=False, deliver=loop.wakeup.deliver)
    yield made
    made.close(PATIENCE_SECONDS)


@pytest.fixture
def fork_server() -> Iterator[None]:
    """End the fork server after the test."""
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


def _messages_until_the_end(worker: WorkerProcess) -> list[Any]:
    assert worker.pipe is not None
    pipe, messages = worker.pipe, list[Any]()

    def received() -> None:
        selector.select(1)
        messages.extend(pipe.receive())

    with selectors.DefaultSelector() as selector, pytest.raises(PipeError, match=r"^end of file$"):
        selector.register(worker.pipe.fd, selectors.EVENT_READ)
        wait_until(received, progress=progress_of(lambda: [worker.pid], PATIENCE_SECONDS))
    return messages


@pytest.mark.usefixtures("fork_server")
@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize("path", [None, "/nowhere"])
@pytest.mark.slow
def test_a_worker_starts_serves_and_ends_with_its_exit_code(
    method: str, path: str | None, loop: Loop, presence: PresenceFile, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)
    environment, main = dict(os.environ), sys.modules["__main__"]
    spawner = Spawner(presence.fd, False, loop.wakeup.deliver, method)

    worker = loop.result(lambda done: spawner.start(spec_of(1, 7), done))
    assert isinstance(worker, WorkerProcess)
    assert (worker.slot, worker.generation) == (1, 7)
    assert worker.pipe is not None
    worker.pipe.send(Stop())
    messages = _messages_until_the_end(worker)
    code = loop.result(lambda done: spawner.collect(worker, done))

    assert [type(message) for message in messages if type(message) is not Returned] == [
        Ready,
        Retiring,
        Flushed,
    ]
    assert messages[0].warnings == []
    assert code == 0
    assert dict(os.environ) == environment
    assert sys.modules["__main__"] is main
    worker.close()
    spawner.close(PATIENCE_SECONDS)


def _started() -> Any:
    """Return a process started as workers are."""
    context: Any = get_context("forkserver")
    process = context.Process(target=time.sleep, args=(60,))
    with spawning._without_main_module():
        spawning._start_from_fork_server(process, threading.Event())
    return process


def _fork_server() -> int:
    pid: int = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    return pid


def _is_zombie(pid: int) -> bool:
    """Return whether a child has ended, without reaping it."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _has_ended(pid: int) -> bool:
    spawning._reap()
    return not Path(f"/proc/{pid}").exists()


class CancelledLater(threading.Event):
    """An event that is set from the second check on."""

    def is_set(self) -> bool:
        was_set = super().is_set()
        self.set()
        return was_set


@pytest.mark.usefixtures("fork_server", "spawner")
@pytest.mark.slow
def test_a_fork_server_whose_socket_was_removed_is_replaced_and_serves_the_workers_that_it_has():
    one, other = _started(), _started()
    first = _fork_server()
    shutil.rmtree(util.get_temp_dir())

    third = _started()

    assert _fork_server() != first
    assert wait([one.sentinel, other.sentinel], 0) == []
    for process in (one, other, third):
        process.kill()
        process.join(PATIENCE_SECONDS)
    assert (one.exitcode, third.exitcode) == (-signal.SIGKILL, -signal.SIGKILL)
    wait_until(lambda: _has_ended(first))


@pytest.mark.usefixtures("fork_server", "spawner")
@pytest.mark.slow
def test_a_fork_server_that_died_after_its_folder_was_removed_is_replaced():
    process = _started()
    shutil.rmtree(util.get_temp_dir())
    os.kill(_fork_server(), signal.SIGKILL)
    wait_until(lambda: _is_zombie(_fork_server()))

    another = _started()

    for each in (process, another):
        os.kill(each.pid, signal.SIGKILL)
    another.join(PATIENCE_SECONDS)
    assert another.exitcode == -signal.SIGKILL
    assert os.listdir(util.get_temp_dir()) != []


@pytest.mark.usefixtures("fork_server")
@pytest.mark.slow
def test_a_start_that_waits_for_the_fork_server_fails_at_once_when_it_is_given_up(
    loop: Loop, spawner: Spawner
):
    _started().kill()
    os.kill(_fork_server(), signal.SIGSTOP)
    results: list[Any] = []
    spawner.start(spec_of(0, 1), results.append)
    wait_until(lambda: _is_waiting(spawner), what="the start waits for the process id")

    def start_and_cancel(done: Callable[[Any], None]) -> None:
        spawner.start(spec_of(1, 2), done)
        spawner.cancel_starts()

    error = loop.result(start_and_cancel)

    assert isinstance(results[0], (EOFError, OSError, spawning.StartCancelled))
    assert isinstance(error, spawning.StartCancelled)


@pytest.mark.usefixtures("fork_server")
@pytest.mark.slow
def test_a_fork_server_that_was_started_when_the_start_was_given_up_is_killed():
    cancelled = threading.Event()
    cancelled.set()

    spawning._ensure_fork_server(cancelled)

    wait_until(lambda: _is_zombie(_fork_server()))


@pytest.mark.usefixtures("fork_server", "spawner")
@pytest.mark.slow
def test_no_other_fork_server_is_started_for_a_start_that_was_given_up_meanwhile():
    _started().kill()
    shutil.rmtree(util.get_temp_dir())
    cancelled = CancelledLater()
    first = _fork_server()
    process: Any = get_context("forkserver").Process(target=time.sleep, args=(60,))

    with spawning._without_main_module(), pytest.raises(spawning.StartCancelled):
        spawning._start_from_fork_server(process, cancelled)

    assert _fork_server() == first
    spawning._abandon_fork_server()  # its folder is gone, and with it the means to stop it
    wait_until(lambda: _has_ended(first))


def _is_waiting(spawner: Spawner) -> bool:
    frame = sys._current_frames()[spawner._thread.ident or 0]
    return "read_signed" in [each.name for each in traceback.extract_stack(frame)]


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_no_worker_is_started_once_starts_are_given_up(method: str, loop: Loop, presence: PresenceFile):
    spawner = Spawner(presence.fd, False, loop.wakeup.deliver, method)
    spawner.cancel_starts()

    error = loop.result(lambda done: spawner.start(spec_of(1, 2), done))

    assert isinstance(error, spawning.StartCancelled)
    spawner.close(PATIENCE_SECONDS)


def test_nothing_is_killed_where_no_fork_server_runs(
    loop: Loop, presence: PresenceFile, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(forkserver._forkserver, "_forkserver_pid", None)
    for method in ("spawn", "forkserver"):
        spawner = Spawner(presence.fd, False, loop.wakeup.deliver, method)
        spawner.cancel_starts()
        spawner.close(PATIENCE_SECONDS)


class CannotCross:
    def __reduce__(self) -> str:
        raise ValueError("not to another process")


def test_a_start_that_fails_delivers_its_error_and_the_next_is_tried(loop: Loop, spawner: Spawner):
    cannot_cross = spec_of(0, 1)._replace(subscribe=("nowhere", {"what": CannotCross()}))

    for _ in range(2):
        error = loop.result(lambda done: spawner.start(cannot_cross, done))
        assert isinstance(error, ValueError)
        assert str(error) == "not to another process"


@pytest.mark.parametrize(
    ("method", "code", "known"),
    [("forkserver", -9, -9), ("forkserver", 255, None), ("spawn", 255, 255), ("spawn", None, None)],
)
def test_an_exit_code_that_the_fork_server_could_not_tell_is_not_known(
    method: str,
    code: int | None,
    known: int | None,
    loop: Loop,
    presence: PresenceFile,
    worker_in: Callable[..., FakeWorker],
):
    spawner = Spawner(presence.fd, False, loop.wakeup.deliver, method)
    worker = worker_in()
    worker.process.end(code)

    assert loop.result(lambda done: spawner.collect(worker.managed, done)) == known
    assert worker.process.joined == [spawning.EXIT_CODE_SECONDS]


def test_a_host_without_a_temporary_folder_is_refused(monkeypatch: pytest.MonkeyPatch):
    def fail() -> str:
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/']")

    monkeypatch.setattr(tempfile, "gettempdir", fail)

    with pytest.raises(CannotStart, match=r"^There is no temporary folder: No usable .*\. Set TMPDIR to"):
        ensure_short_temporary_folder()


def test_a_temporary_folder_with_a_long_path_is_refused(monkeypatch: pytest.MonkeyPatch):
    longest = "/" + "t" * (TEMPORARY_FOLDER_MAX_BYTES - 1)
    monkeypatch.setattr(tempfile, "tempdir", longest)
    ensure_short_temporary_folder("forkserver")

    monkeypatch.setattr(tempfile, "tempdir", longest + "t")

    ensure_short_temporary_folder("spawn")
    with pytest.raises(CannotStart, match="Set TMPDIR to a shorter one"):
        ensure_short_temporary_folder("forkserver")
