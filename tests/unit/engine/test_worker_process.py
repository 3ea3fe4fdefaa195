"""A worker from its manager's point of view."""

import os
import selectors
import subprocess
import threading
from collections.abc import Callable

import pytest

from django_partisan.engine.manager.worker_process import (
    ProcessHandle,
    State,
    WorkerProcess,
    exit_descriptor,
    kill_process,
)
from django_partisan.engine.pages import Page
from django_partisan.engine.pipe import ManagerEnd
from django_partisan.outcomes import REASON_ERROR, REASON_RECYCLED, REASON_SIGNAL, REASON_STOPPED
from tests.support.engine import NO_PID, FakeWorker
from tests.support.rows import task_row
from tests.support.waiting import PATIENCE_SECONDS

MakeWorker = Callable[..., FakeWorker]


@pytest.fixture
def worker(worker_in: MakeWorker) -> FakeWorker:
    return worker_in(slot=1, generation=7)


@pytest.fixture
def managed(worker: FakeWorker) -> WorkerProcess:
    worker.managed.become_ready()
    worker.managed.hold([task_row(1), task_row(2), task_row(3)])
    return worker.managed


def test_only_a_ready_worker_takes_tasks(worker: FakeWorker):
    managed = worker.managed
    states = []
    for step in (
        lambda: None,
        managed.become_ready,
        managed.begin_to_stop,
        managed.become_ready,
        managed.retire,
    ):
        step()
        states.append((managed.state, managed.takes_tasks))

    assert states == [
        (State.STARTING, False),
        (State.READY, True),
        (State.STOPPING, False),
        (State.STOPPING, False),
        (State.ENDING, False),
    ]


def test_a_ready_worker_takes_no_tasks_when_it_could_not_have_or_run_them(worker_in: MakeWorker):
    recalling, exited, closed, used_up = (worker_in(slot).managed for slot in range(4))
    for managed in (recalling, exited, closed, used_up):
        managed.become_ready()
        assert managed.takes_tasks

    recalling.recall()
    exited.note_exit()
    closed.close_pipe()
    used_up.tasks_left = 0

    assert not any(managed.takes_tasks for managed in (recalling, exited, closed, used_up))


def test_a_worker_lets_go_only_of_tasks_that_it_held(managed: WorkerProcess):
    managed.expected_seconds = 2.0

    assert managed.remove_tasks([2, 9, 1]) == [task_row(2), task_row(1)]
    assert managed.held == {3: task_row(3)}
    assert managed.expected_seconds == 2.0
    assert managed.remove_tasks([3]) == [task_row(3)]

    assert managed.expected_seconds == 0.0
    assert not managed.held


def test_work_done_is_no_longer_expected(managed: WorkerProcess):
    managed.expected_seconds = 3.0
    managed.active_at = 0.0

    managed.subtract_expected(1.0)
    assert managed.expected_seconds == 2.0
    assert managed.active_at > 0.0
    managed.subtract_expected(5.0)

    assert managed.expected_seconds == 0.0


@pytest.mark.parametrize(("limit", "left"), [(5, 4), (None, None)])
def test_tasks_that_come_back_do_not_count_towards_recycling(limit, left, worker_in: MakeWorker):
    managed = worker_in(tasks_left=limit).managed
    managed.hold([task_row(1), task_row(2), task_row(3)])

    assert managed.take_back([2, 3]) == [task_row(2), task_row(3)]

    assert managed.tasks_left == left


def test_a_worker_is_asked_once_for_tasks_until_it_answers(worker: FakeWorker):
    worker.managed.recall()
    assert worker.was_rung()
    worker.managed.recall()
    assert not worker.was_rung()

    worker.managed.take_back([])
    worker.managed.recall()

    assert worker.was_rung()


def test_a_worker_that_reads_nothing_does_not_hold_up_its_manager(worker: FakeWorker):
    def ring() -> None:
        for _ in range(2 * 2**16):  # more bytes than a pipe holds
            worker.managed.ring()

    ringing = threading.Thread(target=ring, daemon=True)
    ringing.start()
    ringing.join(PATIENCE_SECONDS)

    assert not ringing.is_alive()
    assert worker.was_rung()


def test_asking_a_worker_that_has_ended_for_tasks_is_no_error(worker_in: MakeWorker):
    worker = worker_in()
    with open(os.devnull) as other:
        os.dup2(other.fileno(), worker.bell)  # closes the end that would be read

    worker.managed.recall()

    assert worker.managed.is_recalling


def test_a_worker_is_killed_and_its_exit_noticed_and_no_process_that_got_its_id_later():
    (bell, ring), (pipe, other) = os.pipe(), os.pipe()
    with selectors.DefaultSelector() as selector, subprocess.Popen(["sleep", "60"]) as process:
        handle = ProcessHandle(process.pid, exit_descriptor(process.pid, -1), ManagerEnd(pipe), ring)
        managed = WorkerProcess(0, 1, handle, None)
        selector.register(managed.exit_fd, selectors.EVENT_READ)
        managed.has_exited = True
        managed.kill()
        assert managed.exit_reason(-9, pool_is_stopped=True) == REASON_SIGNAL
        assert selector.select(0) == []

        managed.has_exited = False
        managed.kill()

        assert selector.select(10)
        assert process.wait(10) == -9
    managed.close()
    os.close(bell)
    os.close(other)


def test_a_process_that_got_the_id_of_an_ended_worker_is_not_killed():
    with subprocess.Popen(["true"]) as ended, subprocess.Popen(["sleep", "60"]) as bystander:
        descriptor = exit_descriptor(ended.pid, -1)
        ended.wait(10)

        with pytest.raises(ProcessLookupError):
            kill_process(bystander.pid, descriptor)

        assert bystander.poll() is None
        bystander.kill()
    os.close(descriptor)


def test_a_process_that_cannot_be_watched_is_watched_by_its_sentinel(monkeypatch: pytest.MonkeyPatch):
    sentinel, alive = os.pipe()
    descriptors = [exit_descriptor(NO_PID, sentinel)]
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    descriptors.append(exit_descriptor(os.getpid(), sentinel))

    with selectors.DefaultSelector() as selector:
        for descriptor in descriptors:
            selector.register(descriptor, selectors.EVENT_READ)
        assert selector.select(0) == []
        os.close(alive)
        assert len(selector.select(10)) == 2

    for descriptor in (*descriptors, sentinel):
        os.close(descriptor)


@pytest.mark.parametrize(
    ("steps", "reasons"),
    [
        ([], [REASON_ERROR, REASON_ERROR, REASON_SIGNAL, REASON_SIGNAL]),
        (["kill"], [REASON_ERROR, REASON_ERROR, REASON_SIGNAL, REASON_SIGNAL]),
        (["retire"], [REASON_RECYCLED] * 4),
        (["begin_to_stop"], [REASON_STOPPED, REASON_ERROR, REASON_SIGNAL, REASON_SIGNAL]),
        # It ended normally, although the fork server that knew its exit code is lost.
        (["begin_to_stop", "retire"], [REASON_STOPPED, REASON_ERROR, REASON_SIGNAL, REASON_STOPPED]),
        (["begin_to_stop", "kill"], [REASON_STOPPED] * 4),
    ],
)
def test_the_reason_of_an_exit_follows_from_what_came_before_and_the_code(
    steps: list[str], reasons: list[str], managed: WorkerProcess
):
    for step in steps:
        getattr(managed, step)()

    is_stopped = "begin_to_stop" in steps
    assert [managed.exit_reason(code, is_stopped) for code in (0, 1, -9, None)] == reasons
    assert managed.begin_to_stop() == (not is_stopped and "retire" not in steps)


def test_a_worker_is_shown_as_starting_idle_or_busy(worker: FakeWorker):
    managed, shown = worker.managed, []
    for step in (lambda: None, managed.become_ready, lambda: managed.hold([task_row(1)])):
        step()
        shown.append(managed.snapshot(Page(0, 0, 0.0, 0.0), "default", 0.0)[:4])

    assert shown == [(1, 7, NO_PID, state) for state in ("starting", "idle", "busy")]
