"""A worker as its manager sees it."""

import os
import selectors
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from multiprocessing.process import BaseProcess
from typing import Any, cast

import pytest

from django_partisan.engine.manager.worker_process import (
    READY,
    RETIRING,
    STARTING,
    STOPPING,
    WorkerProcess,
)
from django_partisan.engine.pipe import ManagerEnd
from tests.support.engine import NO_PID, FakeWorker
from tests.support.rows import task_row as row

MakeWorker = Callable[..., FakeWorker]


@pytest.fixture
def worker(worker_in: MakeWorker) -> FakeWorker:
    made = worker_in(slot=1, generation=7)
    made.seen.state = READY
    return made


@pytest.fixture
def real() -> Iterator[tuple[WorkerProcess, "subprocess.Popen[bytes]"]]:
    """See a process that sleeps as a worker."""
    with ExitStack() as stack:
        process: Any = stack.enter_context(subprocess.Popen(["sleep", "60"]))
        stack.callback(process.kill)
        (bell, ring), (pipe, other) = os.pipe(), os.pipe()
        stack.callback(os.close, bell)
        stack.callback(os.close, other)
        process.sentinel = -1
        seen = WorkerProcess(0, 1, cast(BaseProcess, process), ManagerEnd(pipe), ring, None)
        stack.callback(seen.close)
        yield seen, process


def test_a_new_worker_takes_no_tasks_until_it_is_ready(worker_in: MakeWorker):
    seen = worker_in().seen

    assert seen.state == STARTING
    assert not seen.takes_tasks
    assert not seen.is_idle
    seen.state = READY
    assert seen.takes_tasks
    assert seen.is_idle


@pytest.mark.parametrize("state", [STARTING, STOPPING, RETIRING])
def test_only_a_ready_worker_takes_tasks(state: str, worker: FakeWorker):
    worker.seen.state = state

    assert not worker.seen.takes_tasks


def test_a_worker_takes_no_tasks_when_it_could_not_have_or_run_them(
    worker: FakeWorker, worker_in: MakeWorker
):
    recalling, gone, unheard, used_up = (worker_in(slot).seen for slot in range(4))
    for seen in (recalling, gone, unheard, used_up):
        seen.state = READY
        assert seen.takes_tasks

    recalling.recall()
    gone.is_gone = True
    assert unheard.pipe is not None
    unheard.pipe.close()
    unheard.pipe = None
    used_up.tasks_left = 0

    assert not any(seen.takes_tasks for seen in (recalling, gone, unheard, used_up))


def test_a_worker_lets_go_of_what_it_held_alone(worker: FakeWorker):
    seen = worker.seen
    seen.hold([row(1), row(2), row(3)])
    seen.expected_seconds = 2.0

    assert seen.let_go([2, 9, 1]) == [row(2), row(1)]
    assert seen.held == {3: row(3)}
    assert seen.expected_seconds == 2.0
    assert seen.let_go([3]) == [row(3)]
    assert seen.expected_seconds == 0.0
    assert seen.is_idle


def test_work_done_is_no_longer_expected(worker: FakeWorker):
    seen = worker.seen
    seen.hold([row(1)])
    seen.expected_seconds = 3.0
    seen.heard_at = 0.0

    seen.work_off(1.0)
    assert seen.expected_seconds == 2.0
    assert seen.heard_at > 0.0
    seen.work_off(5.0)
    assert seen.expected_seconds == 0.0


def test_nothing_is_expected_of_a_worker_that_holds_nothing(worker: FakeWorker):
    worker.seen.work_off(1.0)

    assert worker.seen.expected_seconds == 0.0


def test_tasks_that_come_back_may_be_handed_again_before_it_is_recycled(worker_in: MakeWorker):
    seen = worker_in(tasks_left=5).seen
    seen.hold([row(1), row(2), row(3)])
    assert seen.tasks_left == 2
    seen.recall()

    assert seen.take_back([2, 3]) == [row(2), row(3)]
    assert seen.tasks_left == 4
    assert not seen.recalling


def test_a_worker_that_is_never_recycled_counts_no_tasks(worker: FakeWorker):
    worker.seen.hold([row(1)])
    worker.seen.take_back([1])

    assert worker.seen.tasks_left is None


def test_a_worker_is_rung_once_until_it_answers(worker: FakeWorker):
    worker.seen.recall()
    assert worker.rung()
    worker.seen.recall()
    assert not worker.rung()

    worker.seen.take_back([])
    worker.seen.recall()
    assert worker.rung()


def test_a_worker_that_is_gone_can_be_rung(worker_in: MakeWorker):
    worker = worker_in()
    other = os.open(os.devnull, os.O_RDONLY)
    os.dup2(other, worker.bell)  # which closes the end that would be read
    os.close(other)

    worker.seen.recall()

    assert worker.seen.recalling


def test_a_worker_is_killed_and_its_exit_seen(real: tuple[WorkerProcess, "subprocess.Popen[bytes]"]):
    seen, process = real
    with selectors.DefaultSelector() as selector:
        selector.register(seen.exit_fd, selectors.EVENT_READ)
        assert selector.select(0) == []

        seen.kill()

        assert selector.select(10)
        assert process.wait(10) == -9
        assert seen.killed


def test_no_other_process_is_killed_that_got_the_id(real: tuple[WorkerProcess, "subprocess.Popen[bytes]"]):
    seen, process = real
    seen.is_gone = True

    seen.kill()

    assert process.poll() is None
    assert not seen.killed


def test_a_worker_that_just_went_can_be_killed(worker: FakeWorker):
    worker.seen.kill()

    assert worker.seen.killed


def test_the_sentinel_tells_of_an_exit_where_the_process_cannot_be_watched(
    worker: FakeWorker, worker_in: MakeWorker, monkeypatch: pytest.MonkeyPatch
):
    assert worker.seen.exit_fd == worker.process.sentinel

    monkeypatch.delattr(os, "pidfd_open", raising=False)
    on_macos = worker_in()
    assert on_macos.seen.exit_fd == on_macos.process.sentinel


def test_a_worker_is_shown_as_starting_busy_or_idle(worker: FakeWorker):
    more = {"task": None, "run_age_seconds": 0.0, "busy_seconds": 0.0}
    seen = worker.seen

    assert seen.seen(**more)[:4] == (1, 7, NO_PID, "idle")
    seen.hold([row(1)])
    assert seen.seen(**more).state == "busy"
    seen.state = STARTING
    assert seen.seen(**more).state == "starting"
