"""The spawner: workers come from a fork server, or fresh, and nothing of that leaks into this process."""

import os
import selectors
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_partisan.engine.forkserver.spawner import Spawner
from django_partisan.engine.forkserver.worker_source import ForkServer, StartCancelled
from django_partisan.engine.manager.loop_calls import LoopCalls
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.pipe import PipeError
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.protocol import Flushed, Ready, Retiring, Returned, Stop
from tests.support.engine import spec_of
from tests.support.progress import progress_of
from tests.support.waiting import wait_until

PATIENCE_SECONDS = 30.0
MakeSpawner = Callable[..., Spawner]


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
def new_spawner(loop: Loop, presence: PresenceFile) -> Iterator[MakeSpawner]:
    """Make spawners, which are closed after the test."""
    made: list[Spawner] = []

    def make(method: str = "forkserver", preload: bool = False) -> Spawner:
        made.append(Spawner(presence.fd, preload, loop.wakeup.deliver, method))
        return made[-1]

    yield make
    for each in made:
        each.close(PATIENCE_SECONDS)


@pytest.fixture
def spawner(new_spawner: MakeSpawner) -> Spawner:
    return new_spawner()


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


def _start(loop: Loop, spawner: Spawner, slot: int = 1) -> WorkerProcess:
    worker = loop.result(lambda done: spawner.start(spec_of(slot, 7), done))
    assert isinstance(worker, WorkerProcess), worker
    return worker


def _exit_code(loop: Loop, spawner: Spawner, worker: WorkerProcess) -> int | None:
    with selectors.DefaultSelector() as selector:
        selector.register(worker.exit_fd, selectors.EVENT_READ)
        assert selector.select(PATIENCE_SECONDS)
    code: int | None = loop.result(lambda done: spawner.collect(worker, done))
    worker.close()
    return code


def _server(spawner: Spawner) -> int:
    """Return the process id of a spawner's fork server."""
    source = spawner._source
    assert isinstance(source, ForkServer)
    assert source._server is not None
    return source._server.process.pid


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
@pytest.mark.parametrize("path", [None, "/nowhere"])
@pytest.mark.slow
def test_a_worker_starts_serves_and_ends_with_its_exit_code(
    method: str, path: str | None, loop: Loop, new_spawner: MakeSpawner, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if path is not None:
        monkeypatch.setenv("PYTHONPATH", path)
    environment, main = dict(os.environ), sys.modules["__main__"]
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    spawner = new_spawner(method)

    worker = _start(loop, spawner)
    assert (worker.slot, worker.generation) == (1, 7)
    assert worker.pipe is not None
    worker.pipe.send(Stop())
    messages = _messages_until_the_end(worker)

    assert [type(message) for message in messages if type(message) is not Returned] == [
        Ready,
        Retiring,
        Flushed,
    ]
    assert messages[0].warnings == []
    assert _exit_code(loop, spawner, worker) == 0
    assert dict(os.environ) == environment
    assert sys.modules["__main__"] is main
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == mask


@pytest.mark.slow
def test_workers_outlive_their_fork_server_which_is_replaced_and_their_exit_codes_are_unknown(
    loop: Loop, spawner: Spawner
):
    one, two, other = (_start(loop, spawner, slot) for slot in (1, 0, 0))
    first = _server(spawner)
    other.kill()
    assert _exit_code(loop, spawner, other) == -signal.SIGKILL

    os.kill(first, signal.SIGKILL)
    os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
    two.kill()
    assert _exit_code(loop, spawner, two) is None
    third = _start(loop, spawner, slot=0)

    assert _server(spawner) != first
    assert Path(f"/proc/{one.pid}").exists()
    for worker in (one, third):
        worker.kill()
    assert _exit_code(loop, spawner, one) is None
    assert _exit_code(loop, spawner, third) == -signal.SIGKILL


@pytest.mark.slow
def test_the_exit_code_that_a_stopped_fork_server_does_not_report_is_unknown_and_the_next_is_not_confused(
    loop: Loop, spawner: Spawner
):
    one, other = _start(loop, spawner), _start(loop, spawner, slot=0)
    os.kill(_server(spawner), signal.SIGSTOP)

    one.kill()
    assert _exit_code(loop, spawner, one) is None

    os.kill(_server(spawner), signal.SIGCONT)
    os.kill(other.pid, signal.SIGUSR1)
    assert _exit_code(loop, spawner, other) == -signal.SIGUSR1


@pytest.mark.slow
def test_a_start_that_waits_for_the_fork_server_fails_at_once_when_starts_are_cancelled(
    loop: Loop, spawner: Spawner
):
    worker = _start(loop, spawner)
    worker.kill()
    _exit_code(loop, spawner, worker)
    os.kill(_server(spawner), signal.SIGSTOP)
    results: list[Any] = []
    spawner.start(spec_of(0, 1), results.append)

    def start_and_cancel(done: Callable[[Any], None]) -> None:
        spawner.start(spec_of(1, 2), done)
        spawner.cancel_starts()

    error = loop.result(start_and_cancel)

    assert isinstance(results[0], StartCancelled)
    assert isinstance(error, StartCancelled)


@pytest.mark.slow
def test_a_fork_server_that_was_started_while_starts_were_cancelled_is_killed():
    source = ForkServer(preload=False)

    class SetMeanwhile(threading.Event):
        """An event that is set from the second check on."""

        def is_set(self) -> bool:
            was_set = super().is_set()
            self.set()
            return was_set

    source._is_cancelled = SetMeanwhile()

    with pytest.raises(StartCancelled):
        source.start("worker", b"", [])

    assert source._server is not None
    assert source._server.process.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    source.close()


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_no_worker_is_started_once_starts_are_cancelled(method: str, loop: Loop, new_spawner: MakeSpawner):
    spawner = new_spawner(method)
    spawner.cancel_starts()

    error = loop.result(lambda done: spawner.start(spec_of(1, 2), done))

    assert isinstance(error, StartCancelled)


class CannotCross:
    def __reduce__(self) -> str:
        raise ValueError("not to another process")


def test_a_start_that_fails_delivers_its_error_and_the_next_is_tried(loop: Loop, spawner: Spawner):
    cannot_cross = spec_of(0, 1)._replace(subscribe=("nowhere", {"what": CannotCross()}))

    for _ in range(2):
        error = loop.result(lambda done: spawner.start(cannot_cross, done))
        assert isinstance(error, ValueError)
        assert str(error) == "not to another process"
