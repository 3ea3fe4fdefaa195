"""The pool: every slot has a worker, and what a worker held when it went comes back once."""

import marshal
import os
import signal
import struct
import time
from collections.abc import Iterator
from typing import Any

import pytest

from django_partisan.engine import protocol
from django_partisan.engine.manager import worker_process as states
from django_partisan.engine.manager.pool import PAUSE_AT_MOST_SECONDS, PAUSE_SECONDS, YOUNG_SECONDS
from django_partisan.engine.manager.worker_process import WorkerProcess
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
from tests.support.engine import NO_PID, FakeWorker, report
from tests.support.engine import PoolHarness as Staged
from tests.support.events import RecordedEvents as Heard
from tests.support.rows import task_row as row

NEVER = float("inf")


class Owner:
    """Keep what the pool tells its manager."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, list[int]]] = []
        self.returned: list[TaskRow] = []
        self.gone: list[tuple[int, TaskRow | None, list[TaskRow]]] = []

    def on_report(self, worker: WorkerProcess, message: Report) -> None:
        self.reports.append((worker.slot, message.completed))
        worker.let_go(message.completed)

    def on_returned(self, worker: WorkerProcess, rows: list[TaskRow]) -> None:
        self.returned += rows

    def on_gone(self, worker: WorkerProcess, begun: TaskRow | None, rest: list[TaskRow]) -> None:
        self.gone.append((worker.slot, begun, rest))


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def staged(owner: Owner, presence: PresenceFile) -> Iterator[Staged]:
    made = Staged(owner, presence, slots=2)
    yield made
    made.close()


@pytest.fixture
def working(staged: Staged) -> list[FakeWorker]:
    """Two workers that are ready; the first holds the tasks 1 to 3."""
    workers = staged.started()
    staged.pool.hand_over(workers[0].seen, [row(1), row(2), row(3)], {1: 5.0})
    assert workers[0].end.receive() == [RunTasks([row(1), row(2), row(3)], {1: 5.0})]
    return workers


def test_every_slot_gets_a_worker(staged: Staged, heard: Heard):
    pool = staged.pool
    assert pool.is_empty
    assert pool.next_at() <= time.monotonic()

    pool.turn(time.monotonic())

    assert [(spec.slot, spec.generation) for spec in staged.starter.asked] == [(0, 1), (1, 2)]
    assert not pool.is_empty
    assert pool.next_at() == NEVER
    assert heard.of(WorkerStarted) == []
    staged.turn()
    assert heard.of(WorkerStarted) == [("default", 0, 1, NO_PID), ("default", 1, 2, NO_PID)]


def test_the_pool_knows_that_somebody_is_ready_once_a_worker_said_so(staged: Staged, heard: Heard):
    pool = staged.pool
    staged.turn()
    assert pool.nobody_ready

    first, second = staged.starter.workers
    first.says(Ready(protocol.VERSION, ["mind the gap"]))
    staged.turn()
    assert not pool.nobody_ready
    second.is_ready()
    staged.turn()

    assert heard.of(WorkerReady) == [
        ("default", 0, 1, NO_PID, ("mind the gap",)),
        ("default", 1, 2, NO_PID, ()),
    ]


def test_a_pool_knows_what_its_workers_hold(staged: Staged, working: list[FakeWorker]):
    staged.pool.hand_over(working[1].seen, [row(9)], {})

    assert staged.pool.held() == [row(1), row(2), row(3), row(9)]


def test_reports_and_returns_go_to_the_owner_in_order(
    staged: Staged, owner: Owner, working: list[FakeWorker]
):
    working[0].says(report([1]), report([2]), Returned([3]))

    staged.turn()

    assert owner.reports == [(0, [1]), (0, [2])]
    assert owner.returned == [row(3)]
    assert working[0].seen.is_idle


def test_a_worker_that_reads_nothing_holds_up_nobody(staged: Staged, owner: Owner, working: list[FakeWorker]):
    asleep, awake = working
    large = [row(100 + number, f"P{number:01000}") for number in range(1000)]

    staged.pool.hand_over(asleep.seen, large, {})
    awake.says(report([]))
    staged.turn()
    assert owner.reports == [(1, [])]

    came: list[Any] = []
    deadline = time.monotonic() + 10
    while not came and time.monotonic() < deadline:
        came += asleep.end.receive_available()
        staged.turn()
    assert came == [RunTasks(large, {})]


def test_the_loop_does_not_spin_when_nothing_is_unsent(staged: Staged, working: list[FakeWorker]):
    assert staged.selector.select(0) == []


def test_a_worker_that_died_is_replaced_and_what_it_held_comes_back(
    staged: Staged, owner: Owner, working: list[FakeWorker], heard: Heard
):
    staged.begins(working[0], 2)
    working[0].says(report([1]))
    working[0].exits(-signal.SIGKILL)

    staged.turn()
    assert owner.reports == [(0, [1])]
    assert owner.gone == [(0, row(2), [row(3)])]
    assert staged.pool.next_at() <= time.monotonic()
    staged.turn()

    assert [(spec.slot, spec.generation) for spec in staged.starter.asked[2:]] == [(0, 3)]
    assert staged.presence.page(0).task_id == 0
    [exited] = heard.of(WorkerExited)
    assert exited[:7] == ("default", 0, 1, NO_PID, -9, "SIGKILL", REASON_SIGNAL)
    assert exited.task.id == 2
    assert exited.peak_resident_bytes is None
    assert heard.of(PipeBroken) == []


def test_a_worker_killed_before_it_read_its_tasks_has_no_broken_pipe(
    staged: Staged, owner: Owner, working: list[FakeWorker], heard: Heard
):
    staged.pool.hand_over(working[1].seen, [row(9)], {})
    working[1].exits(-signal.SIGKILL)

    staged.turn()

    assert owner.gone == [(1, None, [row(9)])]
    assert heard.of(PipeBroken) == []


def test_what_a_worker_said_last_counts_even_if_its_exit_is_seen_first(
    staged: Staged, owner: Owner, working: list[FakeWorker]
):
    worker = working[0]
    worker.says(report([1]), report([2]))
    worker.exits(0)

    staged.selector.get_key(worker.seen.exit_fd).data(1)
    staged.starter.deliver()

    assert owner.reports == [(0, [1]), (0, [2])]
    assert owner.gone == [(0, None, [row(3)])]


def test_a_child_of_a_task_that_keeps_the_pipe_open_delays_nothing(
    staged: Staged, owner: Owner, working: list[FakeWorker]
):
    kept = working[0].socket.dup()
    working[0].exits(-signal.SIGSEGV)

    staged.turn()
    kept.close()

    assert owner.gone == [(0, None, [row(1), row(2), row(3)])]


def test_an_event_of_a_pipe_that_was_closed_in_the_same_turn_is_nothing(
    staged: Staged, owner: Owner, working: list[FakeWorker]
):
    seen = working[0].seen
    assert seen.pipe is not None
    on_pipe = staged.selector.get_key(seen.pipe.fd).data
    working[0].exits(0)
    staged.selector.get_key(seen.exit_fd).data(1)

    on_pipe(1)

    assert owner.reports == []


def test_a_worker_that_speaks_nonsense_is_killed_and_hurts_no_other(
    staged: Staged, owner: Owner, working: list[FakeWorker], heard: Heard
):
    working[0].socket.send(b"\xff" * 8)
    working[1].says(report([]))

    staged.turn()

    assert heard.of(PipeBroken) == [("default", 0, "a frame of 4294967295 bytes is announced")]
    assert working[0].seen.killed
    assert owner.gone == []
    assert owner.reports == [(1, [])]

    staged.pool.hand_over(working[0].seen, [row(4)], {})
    working[0].exits(-signal.SIGKILL)
    staged.turn()
    assert owner.gone == [(0, None, [row(1), row(2), row(3), row(4)])]


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
    nonsense: Any, reason: str, staged: Staged, working: list[FakeWorker], heard: Heard
):
    working[0].socket.send(framed(nonsense))

    staged.turn()

    (broken,) = heard.of(PipeBroken)
    assert reason in broken.reason
    assert working[0].seen.killed


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
def test_a_worker_whose_exit_is_seen_first_has_a_broken_pipe_all_the_same(
    said: bytes, reason: str, child_keeps_pipe: bool, staged: Staged, working: list[FakeWorker], heard: Heard
):
    worker = working[0]
    worker.socket.send(said)
    with worker.socket.dup() as kept:
        if not child_keeps_pipe:
            kept.close()
        worker.exits(-signal.SIGKILL)
        staged.selector.get_key(worker.seen.exit_fd).data(1)
        staged.starter.deliver()

    assert heard.of(PipeBroken) == [("default", 0, reason)]
    assert len(heard.of(WorkerExited)) == 1


def test_tasks_for_a_worker_that_has_just_died_come_back_with_its_exit(
    staged: Staged, owner: Owner, working: list[FakeWorker]
):
    working[1].socket.close()

    staged.pool.hand_over(working[1].seen, [row(9)], {})
    working[1].exits(-signal.SIGKILL)
    staged.turn()

    assert owner.gone == [(1, None, [row(9)])]


def test_a_worker_that_dies_while_much_is_unsent_is_still_heard_out(
    staged: Staged, owner: Owner, working: list[FakeWorker]
):
    large = [row(100 + number, f"P{number:01000}") for number in range(1000)]
    staged.pool.hand_over(working[0].seen, large, {})
    working[0].says(report([1]))
    working[0].socket.close()
    staged.turn()

    assert owner.reports == [(0, [1])]
    assert staged.selector.select(0) == []


@pytest.mark.parametrize(
    ("code", "name", "reason"),
    [
        (-signal.SIGSEGV, "SIGSEGV", REASON_SIGNAL),
        (-40, "signal 40", REASON_SIGNAL),
        (None, None, REASON_SIGNAL),
        (1, None, REASON_ERROR),
        (0, None, REASON_ERROR),
    ],
)
@pytest.mark.usefixtures("working")
def test_an_unasked_exit_is_told_with_its_code_and_signal(
    code: int | None, name: str | None, reason: str, staged: Staged, heard: Heard
):
    staged.starter.workers[1].exits(code)
    staged.turn()

    assert [(event.exit_code, event.signal, event.reason) for event in heard.of(WorkerExited)] == [
        (code, name, reason)
    ]


def test_a_recycled_worker_is_replaced_while_it_still_flushes(
    staged: Staged, owner: Owner, working: list[FakeWorker], heard: Heard
):
    old = working[1]
    old.says(Retiring())
    staged.turn()
    staged.turn()
    assert [(spec.slot, spec.generation) for spec in staged.starter.asked[2:]] == [(1, 3)]
    staged.begins(staged.starter.workers[2], 77)

    old.says(Flushed([("recorded", "last figures")], 4096))
    old.exits(0)
    staged.turn()
    staged.turn()

    assert len(staged.starter.asked) == 3
    assert heard.absorbed == [(1, "last figures")]
    [exited] = heard.of(WorkerExited)
    assert (exited.reason, exited.task, exited.peak_resident_bytes) == (REASON_RECYCLED, None, 4096)
    assert owner.gone == [(1, None, [])]


def test_a_worker_that_retires_unseen_until_its_exit_is_replaced_once(
    staged: Staged, working: list[FakeWorker]
):
    working[1].says(Retiring())
    working[1].exits(0)
    staged.selector.get_key(working[1].seen.exit_fd).data(1)
    staged.starter.deliver()

    staged.turn()
    staged.turn()

    assert [spec.slot for spec in staged.starter.asked[2:]] == [1]


def test_workers_that_keep_dying_young_are_replaced_with_growing_pauses(staged: Staged):
    for number in range(9):
        staged.turn(NEVER)
        for worker in staged.starter.workers[-2:]:
            worker.exits(1)
        before = time.monotonic()
        staged.turn(0.0)

        pause = min(PAUSE_SECONDS * 2**number, PAUSE_AT_MOST_SECONDS)
        assert before + pause <= staged.pool.next_at() <= time.monotonic() + pause


@pytest.mark.parametrize("has_begun", [True, False])
def test_a_worker_that_worked_or_lived_is_replaced_at_once(
    has_begun: bool, staged: Staged, working: list[FakeWorker]
):
    if has_begun:
        staged.begins(working[0], 1)
    else:
        working[0].seen.started_at -= YOUNG_SECONDS
    working[0].exits(1)

    staged.turn(0.0)

    assert staged.pool.next_at() == 0.0


def test_a_start_that_fails_is_told_and_tried_again_later(staged: Staged, heard: Heard):
    staged.starter.fails = OSError("too many open files")
    before = time.monotonic()

    staged.turn()

    told = [(event.queue, event.slot, event.error.message) for event in heard.of(WorkerStartFailed)]
    assert told == [("default", slot, "too many open files") for slot in (0, 1)]
    assert staged.pool.is_empty
    assert before + PAUSE_SECONDS <= staged.pool.next_at() <= time.monotonic() + PAUSE_SECONDS
    staged.turn(staged.pool.next_at() - PAUSE_SECONDS)
    assert len(staged.starter.asked) == 2
    staged.turn(NEVER)
    assert len(staged.starter.asked) == 4


def test_a_stopping_pool_recalls_and_tells_every_worker_to_end(
    staged: Staged, owner: Owner, working: list[FakeWorker], heard: Heard
):
    staged.pool.stop()

    assert all(worker.rung() for worker in working)
    assert [worker.end.receive() for worker in working] == [[Stop()], [Stop()]]
    assert not any(worker.seen.takes_tasks for worker in working)
    working[0].says(Returned([2, 3]), report([1]), Retiring(), Flushed([], 1))
    for worker in working:
        worker.exits(0)
    staged.turn()
    assert owner.returned == [row(2), row(3)]
    assert [event.reason for event in heard.of(WorkerExited)] == [REASON_STOPPED, REASON_STOPPED]
    assert staged.pool.is_empty
    assert staged.pool.next_at() == NEVER
    staged.turn()
    assert len(staged.starter.asked) == 2


def test_workers_that_were_starting_when_the_pool_stopped_end_too(staged: Staged):
    staged.pool.turn(time.monotonic())
    first = staged.starter.workers[0]
    staged.starter.later.pop(0)()

    staged.pool.stop()
    staged.turn()
    for worker in staged.starter.workers:
        worker.is_ready()
    staged.turn()

    assert [worker.end.receive() for worker in staged.starter.workers] == [[Stop()], [Stop()]]
    assert first.seen.state == states.STOPPING
    assert staged.pool.nobody_ready


def test_a_retiring_worker_is_not_told_to_stop(staged: Staged, working: list[FakeWorker]):
    working[0].says(Retiring())
    staged.turn(0.0)

    staged.pool.stop()

    assert working[0].end.receive_available() == []


def test_a_killed_worker_of_a_stopped_pool_was_stopped(
    staged: Staged, working: list[FakeWorker], heard: Heard
):
    staged.pool.stop()
    staged.pool.kill()
    assert all(worker.seen.killed for worker in working)
    for worker in working:
        worker.exits(-signal.SIGKILL)

    staged.turn()

    assert [event.reason for event in heard.of(WorkerExited)] == [REASON_STOPPED, REASON_STOPPED]


def test_a_worker_that_ended_well_was_stopped_even_if_nobody_knows_its_exit_code(
    staged: Staged, working: list[FakeWorker], heard: Heard
):
    staged.pool.stop()
    working[1].says(Retiring())
    working[1].exits(None)

    staged.turn()

    assert [event.reason for event in heard.of(WorkerExited)] == [REASON_STOPPED]


def test_nothing_stays_open_of_a_worker_that_went(staged: Staged, working: list[FakeWorker]):
    before = set(os.listdir("/dev/fd"))
    for _ in range(3):
        staged.begins(staged.starter.workers[-1], 1)
        staged.starter.workers[-1].exits(0)
        staged.turn(0.0)
        staged.turn(0.0)
        gone = staged.starter.workers.pop(-2)
        gone.close(is_seen=False)

    assert len(set(os.listdir("/dev/fd"))) == len(before)
