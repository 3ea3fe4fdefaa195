"""The pool: every slot has a worker, and what a worker held when it ended comes back once."""

import marshal
import os
import signal
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from django_partisan.engine import protocol
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.pool import YOUNG_SECONDS
from django_partisan.engine.manager.restarts import PAUSE_SECONDS
from django_partisan.engine.manager.worker_process import State, WorkerProcess
from django_partisan.engine.presence import PresenceFile
from django_partisan.engine.protocol import Flushed, Ready, Report, Retiring, Returned, RunTasks, Stop, encode
from django_partisan.sql.claiming import TaskRow
from django_partisan.telemetry.events import (
    REASON_ERROR,
    REASON_RECYCLED,
    REASON_SIGNAL,
    REASON_STOPPED,
    PipeBroken,
    WorkerExited,
    WorkerReady,
    WorkerStarted,
    WorkerStartFailed,
)
from tests.support.engine import NO_PID, FakeWorker, PoolHarness, report
from tests.support.events import RecordedEvents
from tests.support.rows import task_row
from tests.support.waiting import wait_until

LARGE = [task_row(100 + number, f"P{number:01000}") for number in range(1000)]
"""More than a pipe takes at once."""


class Owner:
    """Keep what the pool hands over."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, list[int]]] = []
        self.returned: list[TaskRow] = []
        self.exited: list[tuple[TaskRow | None, list[TaskRow]]] = []

    def on_report(self, worker: WorkerProcess, report: Report) -> None:
        self.reports.append((worker.slot, report.completed))
        worker.let_go(report.completed)

    def on_returned(self, worker: WorkerProcess, rows: list[TaskRow]) -> None:
        self.returned += rows

    def on_exited(self, begun: TaskRow | None, rest: list[TaskRow]) -> None:
        self.exited.append((begun, rest))


class Play(PoolHarness):
    def starts(self) -> list[tuple[int, int]]:
        """Return slot and generation of the workers that were asked for."""
        return [(spec.slot, spec.generation) for spec in self.starter.asked]

    def notices_exit_first(self, worker: FakeWorker) -> None:
        """Have the pool notice an exit before it has read what the worker sent."""
        self.selector.get_key(worker.seen.exit_fd).data(1)
        self.starter.deliver()


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def play(owner: Owner, presence: PresenceFile) -> Iterator[Play]:
    made = Play(owner, presence, slots=2)
    yield made
    made.close()


@pytest.fixture
def workers(play: Play) -> list[FakeWorker]:
    """Two workers that are ready; the first holds the tasks 1 to 3."""
    started = play.started()
    play.pool.dispatch(started[0].seen, [task_row(1), task_row(2), task_row(3)], {1: 5.0})
    assert started[0].end.receive() == [RunTasks([task_row(1), task_row(2), task_row(3)], {1: 5.0})]
    return started


def test_every_slot_gets_a_worker(play: Play, recorded_events: RecordedEvents):
    pool = play.pool
    assert pool.is_empty
    assert pool.next_at() <= time.monotonic()

    pool.turn(time.monotonic())

    assert play.starts() == [(0, 1), (1, 2)]
    assert not pool.is_empty
    assert pool.next_at() == NEVER
    play.turn()
    assert recorded_events.of(WorkerStarted) == [("default", 0, 1, NO_PID), ("default", 1, 2, NO_PID)]


def test_workers_are_ready_once_they_said_so(play: Play, recorded_events: RecordedEvents):
    play.turn()
    assert play.pool.nobody_ready

    play.starter.workers[0].says(Ready(protocol.VERSION, ["mind the gap"]))
    play.turn()

    assert not play.pool.nobody_ready
    assert recorded_events.of(WorkerReady) == [("default", 0, 1, NO_PID, ("mind the gap",))]


def test_reports_and_returns_go_to_the_owner_in_order(play: Play, owner: Owner, workers: list[FakeWorker]):
    assert not play.pool.is_idle

    workers[0].says(report([1]), report([2]), Returned([3]))
    play.turn()

    assert owner.reports == [(0, [1]), (0, [2])]
    assert owner.returned == [task_row(3)]
    assert play.pool.is_idle
    assert play.selector.select(0) == []


def test_a_worker_that_reads_nothing_holds_up_no_other(play: Play, owner: Owner, workers: list[FakeWorker]):
    asleep, awake = workers
    play.pool.dispatch(asleep.seen, LARGE, {})
    awake.says(report([]))
    play.turn()
    assert owner.reports == [(1, [])]

    def receive() -> Any:
        came = asleep.end.receive_available()
        play.turn()
        return came

    assert wait_until(receive) == [RunTasks(LARGE, {})]


def test_a_worker_that_died_is_replaced_and_what_it_held_comes_back(
    play: Play, owner: Owner, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    play.begins(workers[0], 2)
    workers[0].says(report([1]))
    workers[0].exits(-signal.SIGKILL)

    play.turn()
    assert owner.reports == [(0, [1])]
    assert owner.exited == [(task_row(2), [task_row(3)])]
    play.turn()

    assert play.starts()[2:] == [(0, 3)]
    assert play.presence.page(0).task_id == 0
    [exited] = recorded_events.of(WorkerExited)
    assert exited[:7] == ("default", 0, 1, NO_PID, -9, "SIGKILL", REASON_SIGNAL)
    assert (exited.task.id, exited.peak_resident_bytes) == (2, None)
    assert recorded_events.of(PipeBroken) == []


def test_a_worker_killed_before_it_read_its_tasks_has_no_broken_pipe(
    play: Play, owner: Owner, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    play.pool.dispatch(workers[1].seen, [task_row(9)], {})

    workers[1].exits(-signal.SIGKILL)
    play.turn()

    assert owner.exited == [(None, [task_row(9)])]
    assert recorded_events.of(PipeBroken) == []


def test_what_a_worker_said_last_counts_even_if_its_exit_is_noticed_first(
    play: Play, owner: Owner, workers: list[FakeWorker]
):
    worker = workers[0]
    assert worker.seen.pipe is not None
    on_pipe = play.selector.get_key(worker.seen.pipe.fd).data
    worker.says(report([1]), report([2]))
    worker.exits(0)

    play.notices_exit_first(worker)
    on_pipe(1)

    assert owner.reports == [(0, [1]), (0, [2])]
    assert owner.exited == [(None, [task_row(3)])]


def test_a_child_of_a_task_that_keeps_the_pipe_open_delays_nothing(
    play: Play, owner: Owner, workers: list[FakeWorker]
):
    with workers[0].socket.dup():
        workers[0].exits(-signal.SIGSEGV)

        play.turn()

    assert owner.exited == [(None, [task_row(1), task_row(2), task_row(3)])]


def test_a_worker_that_sends_nonsense_is_killed_and_hurts_no_other(
    play: Play, owner: Owner, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    bad, good = workers
    bad.socket.send(b"\xff" * 8)
    good.says(report([]))
    play.turn()
    assert recorded_events.of(PipeBroken) == [("default", 0, "a frame of 4294967295 bytes is announced")]
    assert (bad.seen.was_killed, good.seen.was_killed) == (True, False)
    assert owner.reports == [(1, [])]

    play.pool.dispatch(bad.seen, [task_row(4)], {})
    bad.exits(-signal.SIGKILL)
    play.turn()

    assert owner.exited == [(None, [task_row(1), task_row(2), task_row(3), task_row(4)])]


def framed(value: Any) -> bytes:
    """Return a frame of any value, also of one that is no message."""
    body = marshal.dumps(value)
    return struct.pack("!I", len(body)) + body


@pytest.mark.parametrize(
    ("nonsense", "reason"),
    [
        (7, "a message of no known kind"),
        ((99, "a message of a later version"), "a message of no known kind"),
        (encode(Stop()), "a worker sent Stop, which only managers send"),
        (encode(Ready(protocol.VERSION + 1, [])), f"the worker speaks protocol {protocol.VERSION + 1}"),
    ],
)
def test_a_worker_whose_message_is_not_understood_is_killed(
    nonsense: Any, reason: str, play: Play, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    workers[0].socket.send(framed(nonsense))

    play.turn()

    [broken] = recorded_events.of(PipeBroken)
    assert reason in broken.reason
    assert workers[0].seen.was_killed


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"\0\0\0\4t", "torn frame"),
        (b"\xff" * 8, "a frame of 4294967295 bytes is announced"),
        (
            framed(7),
            "a frame cannot be read: a message of no known kind: cannot unpack non-iterable int object",
        ),
    ],
)
@pytest.mark.parametrize("child_keeps_pipe", [False, True])
def test_a_worker_whose_exit_is_noticed_first_has_a_broken_pipe_all_the_same(
    said: bytes,
    reason: str,
    child_keeps_pipe: bool,
    play: Play,
    workers: list[FakeWorker],
    recorded_events: RecordedEvents,
):
    worker = workers[0]
    worker.socket.send(said)
    with worker.socket.dup() as kept:
        if not child_keeps_pipe:
            kept.close()
        worker.exits(-signal.SIGKILL)
        play.notices_exit_first(worker)

    assert recorded_events.of(PipeBroken) == [("default", 0, reason)]
    assert len(recorded_events.of(WorkerExited)) == 1


def test_tasks_for_a_worker_that_has_just_died_come_back_with_its_exit(
    play: Play, owner: Owner, workers: list[FakeWorker]
):
    workers[1].socket.close()

    play.pool.dispatch(workers[1].seen, [task_row(9)], {})
    workers[1].exits(-signal.SIGKILL)
    play.turn()

    assert owner.exited == [(None, [task_row(9)])]


def test_a_worker_that_dies_while_much_is_unsent_has_its_last_report_read(
    play: Play, owner: Owner, workers: list[FakeWorker]
):
    play.pool.dispatch(workers[0].seen, LARGE, {})
    workers[0].says(report([1]))
    workers[0].socket.close()

    play.turn()

    assert owner.reports == [(0, [1])]
    assert play.selector.select(0) == []


@pytest.mark.parametrize(
    ("code", "name", "reason"),
    [
        (-signal.SIGSEGV, "SIGSEGV", REASON_SIGNAL),
        (-40, "signal 40", REASON_SIGNAL),
        (None, None, REASON_SIGNAL),
        (0, None, REASON_ERROR),
    ],
)
def test_an_unasked_exit_is_emitted_with_its_code_and_signal(
    code: int | None,
    name: str | None,
    reason: str,
    play: Play,
    workers: list[FakeWorker],
    recorded_events: RecordedEvents,
):
    workers[1].exits(code)

    play.turn()

    [exited] = recorded_events.of(WorkerExited)
    assert (exited.exit_code, exited.signal, exited.reason) == (code, name, reason)


@pytest.mark.parametrize("is_seen_flushing", [True, False])
def test_a_recycled_worker_is_replaced_once_and_while_it_still_flushes(
    is_seen_flushing: bool,
    play: Play,
    owner: Owner,
    workers: list[FakeWorker],
    recorded_events: RecordedEvents,
):
    old = workers[1]
    old.says(Retiring())
    if is_seen_flushing:
        play.turn()
        play.turn()
        assert play.starts()[2:] == [(1, 3)]
        assert [worker.generation for worker in play.pool.seen(time.monotonic())] == [1, 3]
        play.begins(workers[2], 77)
    old.says(Flushed([("recorded", "last figures")], 4096))
    old.exits(0)
    play.notices_exit_first(old)
    play.turn()
    play.turn()

    assert play.starts()[2:] == [(1, 3)]
    assert recorded_events.absorbed == [(1, "last figures")]
    [exited] = recorded_events.of(WorkerExited)
    assert (exited.reason, exited.task, exited.peak_resident_bytes) == (REASON_RECYCLED, None, 4096)
    assert owner.exited == [(None, [])]


@pytest.mark.parametrize(("has_begun", "lived"), [(False, 0.0), (True, 0.0), (False, YOUNG_SECONDS)])
def test_only_a_worker_that_dies_young_and_before_its_first_task_is_replaced_after_a_pause(
    has_begun: bool, lived: float, play: Play, workers: list[FakeWorker]
):
    if has_begun:
        play.begins(workers[0], 1)
    workers[0].seen.started_at -= lived
    workers[0].exits(1)

    play.turn(0.0)

    assert (play.pool.next_at() > time.monotonic()) == (not has_begun and not lived)


def test_a_start_that_fails_is_emitted_and_tried_again_later(play: Play, recorded_events: RecordedEvents):
    play.starter.fails = OSError("too many open files")
    before = time.monotonic()

    play.turn()

    failures = [(*event[:2], event.error.message) for event in recorded_events.of(WorkerStartFailed)]
    assert failures == [("default", slot, "too many open files") for slot in (0, 1)]
    assert play.pool.is_empty
    assert before + PAUSE_SECONDS <= play.pool.next_at() <= time.monotonic() + PAUSE_SECONDS
    play.turn(NEVER)
    assert [slot for slot, _ in play.starts()] == [0, 1, 0, 1]


def test_a_stopping_pool_recalls_and_asks_every_worker_to_end(
    play: Play, owner: Owner, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    play.pool.stop()

    assert all(worker.rung() for worker in workers)
    assert [worker.end.receive() for worker in workers] == [[Stop()], [Stop()]]
    assert not any(worker.seen.takes_tasks for worker in workers)
    workers[0].says(Returned([2, 3]), report([1]), Retiring(), Flushed([], 1))
    play.turn()
    assert not play.pool.is_idle
    for worker in workers:
        worker.exits(0)
    play.turn()
    assert owner.returned == [task_row(2), task_row(3)]
    assert [event.reason for event in recorded_events.of(WorkerExited)] == [REASON_STOPPED, REASON_STOPPED]
    assert play.pool.is_idle
    assert play.pool.next_at() == NEVER
    play.turn()
    assert len(play.starts()) == 2


def test_workers_that_were_starting_when_the_pool_stopped_end_too(play: Play):
    play.pool.turn(time.monotonic())
    play.starter.later.pop(0)()
    assert not play.pool.is_empty

    play.pool.stop()
    play.turn()
    for worker in play.starter.workers:
        worker.is_ready()
    play.turn()

    assert [worker.end.receive() for worker in play.starter.workers] == [[Stop()], [Stop()]]
    assert [worker.seen.state for worker in play.starter.workers] == [State.STOPPING] * 2


def test_a_worker_that_ends_anyway_is_not_asked_to(play: Play, workers: list[FakeWorker]):
    workers[0].says(Retiring())
    play.turn(0.0)

    play.pool.stop()

    assert workers[0].end.receive_available() == []


def test_a_killed_worker_of_a_stopped_pool_was_stopped(
    play: Play, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    play.pool.stop()
    play.pool.kill()
    assert all(worker.seen.was_killed for worker in workers)

    for worker in workers:
        worker.exits(-signal.SIGKILL)
    play.turn()

    assert [event.reason for event in recorded_events.of(WorkerExited)] == [REASON_STOPPED, REASON_STOPPED]


def test_workers_are_shown_with_what_they_run(play: Play):
    busy, _ = play.started()
    play.pool.dispatch(busy.seen, [task_row(7, attempts=2)], {})
    page = play.begins(busy, 7)
    page.busy_seconds = 40.0
    page.begin(7, since=100.0)

    first, second = play.pool.seen(now=105.0)

    assert first[:4] == (0, 1, NO_PID, "busy")
    assert first.task is not None
    assert (first.task.id, first.task.attempt) == (7, 3)
    assert (first.run_age_seconds, first.busy_seconds) == (5.0, 45.0)
    assert second == (1, 2, NO_PID, "idle", None, 0.0, 0.0)


def test_nothing_stays_open_of_a_worker_that_ended(play: Play, workers: list[FakeWorker]):
    before = len(os.listdir("/dev/fd"))
    for _ in range(3):
        play.begins(workers[-1], 1)
        workers[-1].exits(0)
        play.turn(0.0)
        play.turn(0.0)
        workers.pop(-2).close(is_seen=False)

    assert len(os.listdir("/dev/fd")) == before
