"""The pool: every slot has a worker, and the tasks of a worker that ended come back once."""

import marshal
import signal
import struct
import time
from typing import Any

import pytest

from django_partisan import __version__, registry
from django_partisan.engine import protocol
from django_partisan.engine.manager.component import NEVER
from django_partisan.engine.manager.pool import YOUNG_SECONDS
from django_partisan.engine.manager.restarts import PAUSE_SECONDS
from django_partisan.engine.manager.worker_process import State
from django_partisan.engine.protocol import (
    Flushed,
    Message,
    Ready,
    Registered,
    Retiring,
    Returned,
    RunTasks,
    Stop,
    encode,
)
from django_partisan.outcomes import REASON_ERROR, REASON_RECYCLED, REASON_SIGNAL, REASON_STOPPED
from django_partisan.telemetry.events.managers import CodeReplaced
from django_partisan.telemetry.events.telemetry import PipeBroken
from django_partisan.telemetry.events.workers import (
    WorkerExited,
    WorkerReady,
    WorkerStarted,
    WorkerStartFailed,
)
from tests.support.engine import NO_PID, FakeWorker, IntakeHarness, report
from tests.support.events import RecordedEvents
from tests.support.rows import task_row
from tests.support.waiting import let_pass, wait_until

LARGE = [task_row(100 + number, f"P{number:01000}") for number in range(1000)]
"""More than a pipe holds."""


@pytest.fixture
def workers(desk: IntakeHarness) -> list[FakeWorker]:
    """Two ready workers; the first holds the tasks 1 to 3, the second holds task 9."""
    desk.gives(0, task_row(1), task_row(2), task_row(3))
    desk.gives(1, task_row(9))
    assert all(worker.end.receive() for worker in desk.workers)
    return desk.workers


def starts(desk: IntakeHarness) -> list[tuple[int, int]]:
    """Return slot and generation of the workers that were started."""
    return [(spec.slot, spec.generation) for spec in desk.starter.asked]


def notice_exit_first(desk: IntakeHarness, worker: FakeWorker) -> None:
    """Let the pool notice an exit before it has read the worker's messages."""
    desk.selector.get_key(worker.seen.exit_fd).data(1)
    desk.starter.deliver()


def test_every_slot_gets_a_worker(new_desk: IntakeHarness, recorded_events: RecordedEvents):
    pool = new_desk.pool
    assert pool.is_empty
    assert pool.next_at() <= time.monotonic()

    pool.turn(time.monotonic())

    assert starts(new_desk) == [(0, 1), (1, 2)]
    assert not pool.is_empty
    assert pool.next_at() == NEVER
    new_desk.turn()
    assert recorded_events.of(WorkerStarted) == [("default", 0, 1, NO_PID), ("default", 1, 2, NO_PID)]


def test_workers_are_ready_once_they_said_so(new_desk: IntakeHarness, recorded_events: RecordedEvents):
    new_desk.turn()
    assert new_desk.dispatcher.room() == 0

    new_desk.workers[0].says(Ready(protocol.VERSION, ["mind the gap"], __version__))
    new_desk.turn()

    assert new_desk.dispatcher.room() > 0
    assert recorded_events.of(WorkerReady) == [("default", 0, 1, NO_PID, ("mind the gap",))]


def test_reports_and_returns_are_taken_in_in_order(desk: IntakeHarness, workers: list[FakeWorker]):
    assert not desk.pool.is_idle

    workers[0].says(report([1]), report([2]), Returned([3]))
    workers[1].says(report([9]))
    desk.turn()

    assert desk.outcomes.settler.ids() == [1, 2, 9]
    assert desk.buffered() == [3]
    assert desk.pool.is_idle
    assert desk.selector.select(0) == []


@pytest.mark.usefixtures("own_registry")
def test_the_options_of_code_that_only_a_worker_has_are_known_from_then_on(
    desk: IntakeHarness, workers: list[FakeWorker]
):
    desk.processors.note_unregistered("shop.jobs.send")
    version = desk.processors.version

    for timeout in (2.5, 7.5):  # another worker may have newer code
        workers[0].says(Registered([("shop.jobs.send", "mail", 10, None, None, None, timeout, None)]))
        desk.turn()

    assert registry.definitions["shop.jobs.send"].timeout == 7.5
    assert "shop.jobs.send" in desk.processors.known
    assert (desk.processors.unknown, desk.processors.version) == ({}, version + 1)


@pytest.mark.usefixtures("own_registry")
def test_a_processor_that_was_never_held_is_published_once(desk: IntakeHarness, workers: list[FakeWorker]):
    version = desk.processors.version

    for worker in workers:
        worker.says(Registered([("shop.jobs.send", "mail", 10, None, None, None, None, None)]))
    desk.turn()

    assert desk.processors.version == version + 1


def test_a_worker_that_reads_nothing_holds_up_no_other(desk: IntakeHarness, workers: list[FakeWorker]):
    asleep, awake = workers
    desk.gives(0, *LARGE)
    awake.says(report([9]))
    desk.turn()
    assert desk.outcomes.settler.ids() == [9]

    def receive() -> list[Message]:
        desk.turn()
        return asleep.end.receive_available()

    assert wait_until(receive) == [RunTasks(LARGE, {})]


def test_a_worker_that_died_is_replaced_and_what_it_held_comes_back(
    desk: IntakeHarness, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    desk.begins(workers[0], 2)
    workers[0].says(report([1]))
    workers[0].exits(-signal.SIGKILL)

    desk.turn()
    assert desk.outcomes.settler.ids() == [1, 2]
    desk.outcomes.write()
    assert desk.buffered() == [2, 3]
    desk.turn()

    assert starts(desk)[2:] == [(0, 3)]
    assert desk.presence.page(0).task_id == 0
    [exited] = recorded_events.of(WorkerExited)
    assert exited[:7] == ("default", 0, 1, NO_PID, -9, "SIGKILL", REASON_SIGNAL)
    assert (exited.task.id, exited.peak_resident_bytes) == (2, None)
    assert recorded_events.of(PipeBroken) == []


def test_what_a_worker_said_last_counts_even_if_its_exit_is_noticed_first(
    desk: IntakeHarness, workers: list[FakeWorker]
):
    worker = workers[0]
    assert worker.seen.pipe is not None
    on_pipe = desk.selector.get_key(worker.seen.pipe.fd).data
    worker.says(report([1]), report([2]))
    worker.exits(0)

    notice_exit_first(desk, worker)
    on_pipe(1)

    assert desk.outcomes.settler.ids() == [1, 2]
    assert desk.buffered() == [3]


def framed(value: Any) -> bytes:
    """Return a frame with any value, even one that is not a message."""
    body = marshal.dumps(value)
    return struct.pack("!I", len(body)) + body


@pytest.mark.parametrize(
    ("ready", "version"),
    [
        (Ready(99, [], __version__), __version__),
        (Ready(protocol.VERSION, [], "99.0"), "99.0"),
        (Ready(2, []), "of an earlier version"),
    ],
)
def test_workers_of_replaced_code_end_and_the_pool_asks_once_to_drain(
    ready: Ready, version: str, new_desk: IntakeHarness, recorded_events: RecordedEvents
):
    new_desk.turn()
    for worker in new_desk.starter.workers:
        worker.says(ready)
    new_desk.turn()

    assert recorded_events.of(CodeReplaced) == [
        CodeReplaced("default", version, ready.protocol, __version__, protocol.VERSION)
    ]
    assert new_desk.drains == 1
    assert new_desk.pool.is_outdated
    assert recorded_events.of(WorkerReady) == []


TOO_LONG = b"\xff" * 8
NO_MESSAGE = framed(7)


@pytest.mark.parametrize(
    ("nonsense", "reason"),
    [
        (TOO_LONG, "a frame of 4294967295 bytes is too large"),
        (NO_MESSAGE, "an invalid message"),
        (framed((99, "a message of a later version")), "an invalid message"),
        (framed(encode(Stop())), "a worker sent Stop, which only managers send"),
    ],
)
def test_a_worker_that_sends_nonsense_is_killed_and_hurts_no_other(
    nonsense: bytes,
    reason: str,
    desk: IntakeHarness,
    workers: list[FakeWorker],
    recorded_events: RecordedEvents,
):
    workers[0].socket.send(nonsense)
    workers[1].says(report([9]))
    desk.turn()
    [broken] = recorded_events.of(PipeBroken)
    assert broken[:2] == ("default", 0)
    assert reason in broken.reason
    assert [worker.seen.was_killed for worker in workers] == [True, False]
    assert desk.outcomes.settler.ids() == [9]

    desk.gives(0, task_row(4))
    workers[0].exits(-signal.SIGKILL)
    desk.turn()

    assert desk.buffered() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("said", "reasons"),
    [
        (b"", []),
        (b"\0\0\0\4t", ["torn frame"]),
        (TOO_LONG, ["a frame of 4294967295 bytes is too large"]),
        (
            NO_MESSAGE,
            ["a frame cannot be decoded: an invalid message: cannot unpack non-iterable int object"],
        ),
    ],
)
@pytest.mark.parametrize("child_keeps_pipe", [False, True])
def test_a_worker_whose_exit_is_noticed_first_has_a_broken_pipe_only_if_it_sent_nonsense(
    said: bytes,
    reasons: list[str],
    child_keeps_pipe: bool,
    desk: IntakeHarness,
    workers: list[FakeWorker],
    recorded_events: RecordedEvents,
):
    workers[0].socket.send(said)
    with workers[0].socket.dup() as kept:
        if not child_keeps_pipe:
            kept.close()
        workers[0].exits(-signal.SIGKILL)
        notice_exit_first(desk, workers[0])

    assert [event.reason for event in recorded_events.of(PipeBroken)] == reasons
    assert desk.buffered() == [1, 2, 3]


@pytest.mark.parametrize("dies_first", [True, False])
def test_tasks_that_a_worker_did_not_read_before_it_died_come_back_without_a_broken_pipe(
    dies_first: bool, desk: IntakeHarness, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    if dies_first:
        workers[1].socket.close()
    desk.gives(1, task_row(10))

    workers[1].exits(-signal.SIGKILL)
    desk.turn()

    assert desk.buffered() == [9, 10]
    assert recorded_events.of(PipeBroken) == []


def test_a_worker_that_dies_while_much_is_unsent_has_its_last_report_read(
    desk: IntakeHarness, workers: list[FakeWorker]
):
    desk.gives(0, *LARGE)
    workers[0].says(report([1]))
    workers[0].socket.close()

    desk.turn()

    assert desk.outcomes.settler.ids() == [1]
    assert desk.selector.select(0) == []


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
    desk: IntakeHarness,
    workers: list[FakeWorker],
    recorded_events: RecordedEvents,
):
    workers[1].exits(code)

    desk.turn()

    [exited] = recorded_events.of(WorkerExited)
    assert (exited.exit_code, exited.signal, exited.reason) == (code, name, reason)


@pytest.mark.parametrize("is_seen_flushing", [True, False])
def test_a_recycled_worker_is_replaced_once_and_while_it_still_flushes(
    is_seen_flushing: bool,
    desk: IntakeHarness,
    workers: list[FakeWorker],
    recorded_events: RecordedEvents,
):
    old = workers[1]
    old.says(Retiring())
    if is_seen_flushing:
        desk.turn()
        desk.turn()
        assert starts(desk)[2:] == [(1, 3)]
        assert [worker.generation for worker in desk.pool.snapshots(time.monotonic())] == [1, 3]
        desk.begins(workers[2], 77)
    old.says(Flushed([("recorded", "last figures")], 4096))
    old.exits(0)
    notice_exit_first(desk, old)
    desk.turn()
    desk.turn()

    assert starts(desk)[2:] == [(1, 3)]
    assert recorded_events.absorbed == [(1, "last figures")]
    [exited] = recorded_events.of(WorkerExited)
    assert (exited.reason, exited.task, exited.peak_resident_bytes) == (REASON_RECYCLED, None, 4096)
    assert desk.buffered() == [9]


@pytest.mark.parametrize(("has_begun", "lived"), [(False, 0.0), (True, 0.0), (False, YOUNG_SECONDS)])
def test_only_a_worker_that_dies_young_and_before_its_first_task_is_replaced_after_a_pause(
    has_begun: bool, lived: float, desk: IntakeHarness, workers: list[FakeWorker]
):
    if has_begun:
        desk.begins(workers[0], 1)
    workers[0].seen.started_at -= lived
    workers[0].exits(1)

    desk.turn(0.0)

    assert (desk.pool.next_at() > time.monotonic()) == (not has_begun and not lived)


def test_a_start_that_fails_is_emitted_and_tried_again_later(
    new_desk: IntakeHarness, recorded_events: RecordedEvents
):
    new_desk.starter.fails = OSError("too many open files")
    before = time.monotonic()

    new_desk.turn()

    failures = [(*event[:2], event.error.message) for event in recorded_events.of(WorkerStartFailed)]
    assert failures == [("default", slot, "too many open files") for slot in (0, 1)]
    assert new_desk.pool.is_empty
    assert before + PAUSE_SECONDS <= new_desk.pool.next_at() <= time.monotonic() + PAUSE_SECONDS
    new_desk.turn(NEVER)
    assert [slot for slot, _ in starts(new_desk)] == [0, 1, 0, 1]


def test_a_stopping_pool_recalls_and_asks_every_worker_to_end(
    desk: IntakeHarness, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    desk.pool.stop()

    assert all(worker.rung() for worker in workers)
    assert [worker.end.receive() for worker in workers] == [[Stop()], [Stop()]]
    assert not any(worker.seen.takes_tasks for worker in workers)
    workers[0].says(Returned([2, 3]), report([1]), Retiring(), Flushed([], 1))
    desk.turn()
    assert not desk.pool.is_idle
    for worker in workers:
        worker.exits(0)
    desk.turn()
    assert desk.buffered() == [2, 3, 9]
    assert [event.reason for event in recorded_events.of(WorkerExited)] == [REASON_STOPPED, REASON_STOPPED]
    assert desk.pool.is_idle
    assert desk.pool.next_at() == NEVER
    desk.turn()
    assert len(starts(desk)) == 2


def test_a_pool_knows_how_long_its_last_worker_took_to_end_after_its_last_task(
    desk: IntakeHarness, workers: list[FakeWorker]
):
    desk.pool.stop()
    workers[1].exits(-9)
    desk.turn()
    assert desk.pool.ending_seconds == 0.0

    workers[0].says(Retiring())
    desk.turn()
    let_pass(0.02)
    workers[0].exits(0)
    desk.turn()

    assert 0.02 <= desk.pool.ending_seconds < 10


def test_workers_that_were_starting_when_the_pool_stopped_end_too(new_desk: IntakeHarness):
    new_desk.pool.turn(time.monotonic())
    new_desk.starter.later.pop(0)()
    assert not new_desk.pool.is_empty

    new_desk.pool.stop()
    new_desk.turn()
    for worker in new_desk.workers:
        worker.is_ready()
    new_desk.turn()

    assert [worker.end.receive() for worker in new_desk.workers] == [[Stop()], [Stop()]]
    assert [worker.seen.state for worker in new_desk.workers] == [State.STOPPING] * 2


def test_starts_are_given_up_once_a_stopping_pool_has_no_worker(new_desk: IntakeHarness):
    new_desk.pool.turn(time.monotonic())
    new_desk.starter.later.pop(0)()
    [worker, _] = new_desk.starter.workers

    new_desk.pool.stop()
    assert not new_desk.starter.has_cancelled_starts, "a worker lives"
    starting = new_desk.starter.later.pop()
    worker.exits(0)
    new_desk.turn()

    assert new_desk.starter.has_cancelled_starts
    starting()


def test_starts_that_fail_because_they_were_given_up_are_no_failures(
    new_desk: IntakeHarness, recorded_events: RecordedEvents
):
    new_desk.starter.fails = EOFError("unexpected EOF")
    new_desk.pool.turn(time.monotonic())

    new_desk.pool.stop()
    new_desk.starter.deliver()

    assert new_desk.starter.has_cancelled_starts
    assert new_desk.pool.is_empty
    assert recorded_events.of(WorkerStartFailed) == []


def test_a_worker_that_ends_anyway_is_not_asked_to(desk: IntakeHarness, workers: list[FakeWorker]):
    workers[0].says(Retiring())
    desk.turn(0.0)

    desk.pool.stop()

    assert workers[0].end.receive_available() == []


def test_workers_are_shown_with_what_they_run(desk: IntakeHarness):
    busy = desk.gives(0, task_row(7, attempts=2))
    page = desk.begins(busy, 7)
    page.busy_seconds = 40.0
    page.begin(7, since=100.0)

    first, second = desk.pool.snapshots(now=105.0)

    assert first[:4] == (0, 1, NO_PID, "busy")
    assert first.task is not None
    assert (first.task.id, first.task.attempt) == (7, 3)
    assert (first.run_age_seconds, first.busy_seconds) == (5.0, 45.0)
    assert second == (1, 2, NO_PID, "idle", None, 0.0, 0.0)
