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
def workers(engine: IntakeHarness) -> list[FakeWorker]:
    """Two ready workers; the first holds the tasks 1 to 3, the second holds task 9."""
    engine.dispatch_to(0, task_row(1), task_row(2), task_row(3))
    engine.dispatch_to(1, task_row(9))
    assert all(worker.end.receive() for worker in engine.workers)
    return engine.workers


def starts(engine: IntakeHarness) -> list[tuple[int, int]]:
    """Return slot and generation of the workers that were started."""
    return [(spec.slot, spec.generation) for spec in engine.starter.requested]


def notice_exit_first(engine: IntakeHarness, worker: FakeWorker) -> None:
    """Let the pool notice an exit before it has read the worker's messages."""
    engine.selector.get_key(worker.managed.exit_fd).data(1)
    engine.starter.deliver()


def test_every_slot_gets_a_worker(new_engine: IntakeHarness, recorded_events: RecordedEvents):
    pool = new_engine.pool
    assert pool.is_empty
    assert pool.next_at() <= time.monotonic()

    pool.turn(time.monotonic())

    assert starts(new_engine) == [(0, 1), (1, 2)]
    assert not pool.is_empty
    assert pool.next_at() == NEVER
    new_engine.turn()
    assert recorded_events.of(WorkerStarted) == [("default", 0, 1, NO_PID), ("default", 1, 2, NO_PID)]


def test_workers_are_ready_once_they_said_so(new_engine: IntakeHarness, recorded_events: RecordedEvents):
    new_engine.turn()
    assert new_engine.dispatcher.room() == 0

    new_engine.workers[0].sends(Ready(protocol.VERSION, ["mind the gap"], __version__))
    new_engine.turn()

    assert new_engine.dispatcher.room() > 0
    assert recorded_events.of(WorkerReady) == [("default", 0, 1, NO_PID, ("mind the gap",))]


def test_reports_and_returns_are_taken_in_in_order(engine: IntakeHarness, workers: list[FakeWorker]):
    assert not engine.pool.is_idle

    workers[0].sends(report([1]), report([2]), Returned([3]))
    workers[1].sends(report([9]))
    engine.turn()

    assert engine.outcomes.settler.ids() == [1, 2, 9]
    assert engine.buffered() == [3]
    assert engine.pool.is_idle
    assert engine.selector.select(0) == []


@pytest.mark.usefixtures("own_registry")
def test_the_options_of_code_that_only_a_worker_has_are_known_from_then_on(
    engine: IntakeHarness, workers: list[FakeWorker]
):
    engine.processors.note_unregistered("shop.jobs.send")
    version = engine.processors.version

    for timeout in (2.5, 7.5):  # another worker may have newer code
        workers[0].sends(Registered([("shop.jobs.send", "mail", 10, None, None, None, timeout, None)]))
        engine.turn()

    assert registry.definitions["shop.jobs.send"].timeout == 7.5
    assert "shop.jobs.send" in engine.processors.known
    assert (engine.processors.unknown, engine.processors.version) == ({}, version + 1)


@pytest.mark.usefixtures("own_registry")
def test_a_processor_that_was_never_held_is_published_once(engine: IntakeHarness, workers: list[FakeWorker]):
    version = engine.processors.version

    for worker in workers:
        worker.sends(Registered([("shop.jobs.send", "mail", 10, None, None, None, None, None)]))
    engine.turn()

    assert engine.processors.version == version + 1


def test_a_worker_that_reads_nothing_holds_up_no_other(engine: IntakeHarness, workers: list[FakeWorker]):
    asleep, awake = workers
    engine.dispatch_to(0, *LARGE)
    awake.sends(report([9]))
    engine.turn()
    assert engine.outcomes.settler.ids() == [9]

    def receive() -> list[Message]:
        engine.turn()
        return asleep.end.receive_available()

    assert wait_until(receive) == [RunTasks(LARGE, {})]


def test_a_worker_that_died_is_replaced_and_what_it_held_comes_back(
    engine: IntakeHarness, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    engine.begins(workers[0], 2)
    workers[0].sends(report([1]))
    workers[0].exits(-signal.SIGKILL)

    engine.turn()
    assert engine.outcomes.settler.ids() == [1, 2]
    engine.outcomes.write()
    assert engine.buffered() == [2, 3]
    engine.turn()

    assert starts(engine)[2:] == [(0, 3)]
    assert engine.presence.page(0).task_id == 0
    [exited] = recorded_events.of(WorkerExited)
    assert exited[:7] == ("default", 0, 1, NO_PID, -9, "SIGKILL", REASON_SIGNAL)
    assert (exited.task.id, exited.peak_resident_bytes) == (2, None)
    assert recorded_events.of(PipeBroken) == []


def test_what_a_worker_said_last_counts_even_if_its_exit_is_noticed_first(
    engine: IntakeHarness, workers: list[FakeWorker]
):
    worker = workers[0]
    assert worker.managed.pipe is not None
    on_pipe = engine.selector.get_key(worker.managed.pipe.fd).data
    worker.sends(report([1]), report([2]))
    worker.exits(0)

    notice_exit_first(engine, worker)
    on_pipe(1)

    assert engine.outcomes.settler.ids() == [1, 2]
    assert engine.buffered() == [3]


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
    ready: Ready, version: str, new_engine: IntakeHarness, recorded_events: RecordedEvents
):
    new_engine.turn()
    for worker in new_engine.starter.workers:
        worker.sends(ready)
    new_engine.turn()

    assert recorded_events.of(CodeReplaced) == [
        CodeReplaced("default", version, ready.protocol, __version__, protocol.VERSION)
    ]
    assert new_engine.drains == 1
    assert new_engine.pool.is_outdated
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
    engine: IntakeHarness,
    workers: list[FakeWorker],
    recorded_events: RecordedEvents,
):
    workers[0].socket.send(nonsense)
    workers[1].sends(report([9]))
    engine.turn()
    [broken] = recorded_events.of(PipeBroken)
    assert broken[:2] == ("default", 0)
    assert reason in broken.reason
    assert [worker.managed.was_killed for worker in workers] == [True, False]
    assert engine.outcomes.settler.ids() == [9]

    engine.dispatch_to(0, task_row(4))
    workers[0].exits(-signal.SIGKILL)
    engine.turn()

    assert engine.buffered() == [1, 2, 3, 4]


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
    engine: IntakeHarness,
    workers: list[FakeWorker],
    recorded_events: RecordedEvents,
):
    workers[0].socket.send(said)
    with workers[0].socket.dup() as kept:
        if not child_keeps_pipe:
            kept.close()
        workers[0].exits(-signal.SIGKILL)
        notice_exit_first(engine, workers[0])

    assert [event.reason for event in recorded_events.of(PipeBroken)] == reasons
    assert engine.buffered() == [1, 2, 3]


@pytest.mark.parametrize("dies_first", [True, False])
def test_tasks_that_a_worker_did_not_read_before_it_died_come_back_without_a_broken_pipe(
    dies_first: bool, engine: IntakeHarness, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    if dies_first:
        workers[1].socket.close()
    engine.dispatch_to(1, task_row(10))

    workers[1].exits(-signal.SIGKILL)
    engine.turn()

    assert engine.buffered() == [9, 10]
    assert recorded_events.of(PipeBroken) == []


def test_a_worker_that_dies_while_much_is_unsent_has_its_last_report_read(
    engine: IntakeHarness, workers: list[FakeWorker]
):
    engine.dispatch_to(0, *LARGE)
    workers[0].sends(report([1]))
    workers[0].socket.close()

    engine.turn()

    assert engine.outcomes.settler.ids() == [1]
    assert engine.selector.select(0) == []


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
    engine: IntakeHarness,
    workers: list[FakeWorker],
    recorded_events: RecordedEvents,
):
    workers[1].exits(code)

    engine.turn()

    [exited] = recorded_events.of(WorkerExited)
    assert (exited.exit_code, exited.signal, exited.reason) == (code, name, reason)


@pytest.mark.parametrize("is_seen_flushing", [True, False])
def test_a_recycled_worker_is_replaced_once_and_while_it_still_flushes(
    is_seen_flushing: bool,
    engine: IntakeHarness,
    workers: list[FakeWorker],
    recorded_events: RecordedEvents,
):
    old = workers[1]
    old.sends(Retiring())
    if is_seen_flushing:
        engine.turn()
        engine.turn()
        assert starts(engine)[2:] == [(1, 3)]
        assert [worker.generation for worker in engine.pool.snapshots(time.monotonic())] == [1, 3]
        engine.begins(workers[2], 77)
    old.sends(Flushed([("recorded", "last figures")], 4096))
    old.exits(0)
    notice_exit_first(engine, old)
    engine.turn()
    engine.turn()

    assert starts(engine)[2:] == [(1, 3)]
    assert recorded_events.absorbed == [(1, "last figures")]
    [exited] = recorded_events.of(WorkerExited)
    assert (exited.reason, exited.task, exited.peak_resident_bytes) == (REASON_RECYCLED, None, 4096)
    assert engine.buffered() == [9]


@pytest.mark.parametrize(("has_begun", "lived"), [(False, 0.0), (True, 0.0), (False, YOUNG_SECONDS)])
def test_only_a_worker_that_dies_young_and_before_its_first_task_is_replaced_after_a_pause(
    has_begun: bool, lived: float, engine: IntakeHarness, workers: list[FakeWorker]
):
    if has_begun:
        engine.begins(workers[0], 1)
    workers[0].managed.started_at -= lived
    workers[0].exits(1)

    engine.turn(0.0)

    assert (engine.pool.next_at() > time.monotonic()) == (not has_begun and not lived)


def test_a_start_that_fails_is_emitted_and_tried_again_later(
    new_engine: IntakeHarness, recorded_events: RecordedEvents
):
    new_engine.starter.fails = OSError("too many open files")
    before = time.monotonic()

    new_engine.turn()

    failures = [(*event[:2], event.error.message) for event in recorded_events.of(WorkerStartFailed)]
    assert failures == [("default", slot, "too many open files") for slot in (0, 1)]
    assert new_engine.pool.is_empty
    assert before + PAUSE_SECONDS <= new_engine.pool.next_at() <= time.monotonic() + PAUSE_SECONDS
    new_engine.turn(NEVER)
    assert [slot for slot, _ in starts(new_engine)] == [0, 1, 0, 1]


def test_a_stopping_pool_recalls_and_asks_every_worker_to_end(
    engine: IntakeHarness, workers: list[FakeWorker], recorded_events: RecordedEvents
):
    engine.pool.stop()

    assert all(worker.was_rung() for worker in workers)
    assert [worker.end.receive() for worker in workers] == [[Stop()], [Stop()]]
    assert not any(worker.managed.takes_tasks for worker in workers)
    workers[0].sends(Returned([2, 3]), report([1]), Retiring(), Flushed([], 1))
    engine.turn()
    assert not engine.pool.is_idle
    for worker in workers:
        worker.exits(0)
    engine.turn()
    assert engine.buffered() == [2, 3, 9]
    assert [event.reason for event in recorded_events.of(WorkerExited)] == [REASON_STOPPED, REASON_STOPPED]
    assert engine.pool.is_idle
    assert engine.pool.next_at() == NEVER
    engine.turn()
    assert len(starts(engine)) == 2


def test_a_pool_knows_how_long_its_last_worker_took_to_end_after_its_last_task(
    engine: IntakeHarness, workers: list[FakeWorker]
):
    engine.pool.stop()
    workers[1].exits(-9)
    engine.turn()
    assert engine.pool.ending_seconds == 0.0

    workers[0].sends(Retiring())
    engine.turn()
    let_pass(0.02)
    workers[0].exits(0)
    engine.turn()

    assert 0.02 <= engine.pool.ending_seconds < 10


def test_workers_that_were_starting_when_the_pool_stopped_end_too(new_engine: IntakeHarness):
    new_engine.pool.turn(time.monotonic())
    new_engine.starter.later.pop(0)()
    assert not new_engine.pool.is_empty

    new_engine.pool.stop()
    new_engine.turn()
    for worker in new_engine.workers:
        worker.is_ready()
    new_engine.turn()

    assert [worker.end.receive() for worker in new_engine.workers] == [[Stop()], [Stop()]]
    assert [worker.managed.state for worker in new_engine.workers] == [State.STOPPING] * 2


def test_starts_are_given_up_once_the_workers_of_a_stopping_pool_have_ended(new_engine: IntakeHarness):
    new_engine.pool.turn(time.monotonic())
    new_engine.starter.later.pop(0)()
    [worker, _] = new_engine.starter.workers

    new_engine.pool.stop()
    assert not new_engine.starter.has_cancelled_starts, "a worker lives"
    starting = new_engine.starter.later.pop()
    worker.exits(0)
    for key, mask in new_engine.selector.select(10):  # the exit code waits for the start
        key.data(mask)

    assert new_engine.starter.has_cancelled_starts
    assert new_engine.pool.workers == [worker.managed]
    starting()
    new_engine.turn()


def test_starts_that_fail_because_they_were_given_up_are_no_failures(
    new_engine: IntakeHarness, recorded_events: RecordedEvents
):
    new_engine.starter.fails = EOFError("unexpected EOF")
    new_engine.pool.turn(time.monotonic())

    new_engine.pool.stop()
    new_engine.starter.deliver()

    assert new_engine.starter.has_cancelled_starts
    assert new_engine.pool.is_empty
    assert recorded_events.of(WorkerStartFailed) == []


def test_a_worker_that_ends_anyway_is_not_asked_to(engine: IntakeHarness, workers: list[FakeWorker]):
    workers[0].sends(Retiring())
    engine.turn(0.0)

    engine.pool.stop()

    assert workers[0].end.receive_available() == []


def test_workers_are_shown_with_what_they_run(engine: IntakeHarness):
    busy = engine.dispatch_to(0, task_row(7, attempts=2))
    page = engine.begins(busy, 7)
    page.busy_seconds = 40.0
    page.begin(7, since=100.0)

    first, second = engine.pool.snapshots(now=105.0)

    assert first[:4] == (0, 1, NO_PID, "busy")
    assert first.task is not None
    assert (first.task.id, first.task.attempt) == (7, 3)
    assert (first.run_age_seconds, first.busy_seconds) == (5.0, 45.0)
    assert second == (1, 2, NO_PID, "idle", None, 0.0, 0.0)
