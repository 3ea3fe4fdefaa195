"""Handing over: chunks for tiny tasks, one at a time for long ones, and nobody idles meanwhile."""

import random
import time
from collections.abc import Callable

import pytest

from django_partisan.engine.manager.buffer import Buffer
from django_partisan.engine.manager.chunking import (
    CHUNK_AT_MOST,
    CLAIMS_REMEMBERED,
    LEAST_TASK_SECONDS,
    REFILL_BELOW_SECONDS,
    TARGET_SECONDS,
    ClaimTimes,
    Pace,
    feed,
    to_recall,
)
from django_partisan.engine.manager.worker_process import READY, STARTING, WorkerProcess
from django_partisan.engine.presence import PresenceFile, WorkerPage
from django_partisan.engine.worker.report import EVERY_SECONDS
from django_partisan.sql.claiming import ID, PROCESSOR, TaskRow
from tests.support.engine import FakeWorker
from tests.support.rows import task_row as row

TINY, SHORT, LONG, UNKNOWN = "Tiny", "Short", "Long", "Unknown"


def test_a_worker_reports_before_it_is_refilled_and_is_refilled_before_it_runs_out():
    assert EVERY_SECONDS < REFILL_BELOW_SECONDS < TARGET_SECONDS


@pytest.fixture
def pace() -> Pace:
    known = Pace()
    known.learn(TINY, 1000, 0.010)
    known.learn(SHORT, 8, 2 * TARGET_SECONDS)
    known.learn(LONG, 1, 3.0)
    return known


@pytest.fixture
def workers(worker_in: Callable[..., FakeWorker]) -> list[WorkerProcess]:
    """Four workers that are ready and hold nothing."""
    made = [worker_in(slot).seen for slot in range(4)]
    for worker in made:
        worker.state = READY
    return made


def _filled(*rows: TaskRow) -> Buffer:
    buffer = Buffer()
    buffer.add(list(rows))
    return buffer


def _tasks(processor: str, number: int) -> list[TaskRow]:
    return [row(task_id, processor) for task_id in range(1, number + 1)]


def _at_random(chance: random.Random, workers: list[WorkerProcess]) -> None:
    """Bring workers into any state in which they can be."""
    for worker in workers:
        worker.state = chance.choice([READY, READY, READY, STARTING])
        worker.recalling = chance.random() < 0.1
        worker.tasks_left = chance.choice([None, None, 0, 1, 3, 50])
        held = chance.choice([0, 0, 1, 5])
        worker.held = {-task_id: row(-task_id, TINY) for task_id in range(1, held + 1)}
        worker.expected_seconds = chance.choice([0.0, 0.001, 0.004, 0.008, 2.0]) if held else 0.0


@pytest.mark.parametrize("seed", range(40))
def test_feeding_keeps_its_promises_whatever_the_workers_do(
    seed: int, pace: Pace, workers: list[WorkerProcess]
):
    chance = random.Random(seed)
    for _ in range(25):
        _at_random(chance, workers)
        processors = [
            chance.choice([TINY, SHORT, LONG, UNKNOWN]) for _ in range(chance.choice([0, 2, 9, 60]))
        ]
        rows = [row(task_id, processor) for task_id, processor in enumerate(processors)]
        buffer = _filled(*rows)
        left_before = {worker.slot: worker.tasks_left for worker in workers}
        idle = [worker for worker in workers if worker.takes_tasks and not worker.held]

        chunks = feed(workers, buffer, pace)

        handed = [one for _, chunk in chunks for one in chunk]
        assert handed + buffer.rows() == rows
        for worker, chunk in chunks:
            left = left_before[worker.slot]
            assert worker.takes_tasks
            assert left is None or len(chunk) <= left
            long = [one for one in chunk if pace.of(one[PROCESSOR]) >= TARGET_SECONDS]
            assert not long or (len(chunk) == 1 and not worker.held)
        fed = {worker.slot for worker, _ in chunks}
        assert len(buffer) == 0 or {worker.slot for worker in idle} <= fed
        assert len(fed & {worker.slot for worker in idle}) >= min(len(idle), len(rows))


def test_a_small_buffer_is_shared_among_the_idle(pace: Pace, workers: list[WorkerProcess]):
    chunks = feed(workers, _filled(*_tasks(TINY, 10)), pace)

    assert [len(chunk) for _, chunk in chunks] == [3, 3, 2, 2]


def test_fewer_tasks_than_workers_go_to_one_worker_each(pace: Pace, workers: list[WorkerProcess]):
    chunks = feed(workers, _filled(*_tasks(TINY, 3)), pace)

    assert [len(chunk) for _, chunk in chunks] == [1, 1, 1]


def test_a_worker_is_handed_the_expected_work_of_a_few_milliseconds(pace: Pace, workers: list[WorkerProcess]):
    [(worker, chunk)] = feed(workers[:1], _filled(*_tasks(SHORT, 50)), pace)

    assert len(chunk) == 4
    assert worker.expected_seconds == pytest.approx(TARGET_SECONDS)


def test_no_chunk_is_larger_than_allowed(workers: list[WorkerProcess]):
    pace = Pace()
    pace.learn(TINY, 1, 0.0)

    [(_, chunk)] = feed(workers[:1], _filled(*_tasks(TINY, 5000)), pace)

    assert len(chunk) == CHUNK_AT_MOST


def test_tiny_tasks_of_two_processors_share_a_chunk(pace: Pace, workers: list[WorkerProcess]):
    rows = [row(1, TINY), row(2, SHORT), row(3, TINY)]

    [(_, chunk)] = feed(workers[:1], _filled(*rows), pace)

    assert chunk == rows


def test_a_long_task_goes_alone_and_behind_nothing(pace: Pace, workers: list[WorkerProcess]):
    rows = [row(1, TINY), row(2, LONG), row(3, LONG)]

    chunks = feed(workers[:2], _filled(*rows), pace)

    assert [chunk for _, chunk in chunks] == [[rows[0]], [rows[1]]]


@pytest.mark.parametrize("processor", [LONG, UNKNOWN])
def test_no_long_task_goes_to_a_worker_that_holds_one_that_took_longer_than_expected(
    processor: str, pace: Pace, workers: list[WorkerProcess]
):
    busy = workers[0]
    busy.hold([row(99, TINY)])

    assert busy.expected_seconds == 0.0
    assert feed([busy], _filled(row(1, processor)), pace) == []


def test_a_worker_with_enough_to_do_is_not_fed(pace: Pace, workers: list[WorkerProcess]):
    workers[0].hold([row(99, TINY)])
    workers[0].expected_seconds = REFILL_BELOW_SECONDS

    assert feed(workers[:1], _filled(row(1, TINY)), pace) == []


def test_the_least_loaded_is_served_first(pace: Pace, workers: list[WorkerProcess]):
    for worker, expected in zip(workers, (0.002, 0.001), strict=False):
        worker.hold([row(99, TINY)])
        worker.expected_seconds = expected

    [(first, _)] = feed(workers[:2], _filled(row(1, TINY)), pace)

    assert first is workers[1]


def test_no_task_waits_behind_one_that_took_longer_than_expected_while_a_worker_idles(
    pace: Pace, workers: list[WorkerProcess]
):
    late, idle = workers[:2]
    late.hold([row(99, TINY)])

    assert late.expected_seconds == 0.0
    assert feed([late, idle], _filled(row(1, TINY)), pace) == [(idle, [row(1, TINY)])]


def test_no_worker_is_handed_more_than_it_may_run_before_it_is_recycled(
    pace: Pace, workers: list[WorkerProcess]
):
    workers[0].tasks_left = 2

    [(_, chunk)] = feed(workers[:1], _filled(*_tasks(TINY, 50)), pace)

    assert len(chunk) == 2


def test_pace_follows_recent_runs():
    pace = Pace()
    assert pace.of(TINY) == TARGET_SECONDS

    pace.learn(TINY, 1, 1.0)
    assert pace.of(TINY) == 1.0
    pace.learn(TINY, 1, 0.5)
    assert pace.of(TINY) == pytest.approx(0.9)
    pace.learn(TINY, 100, 20.0)
    assert pace.of(TINY) == pytest.approx(0.2)


def test_no_task_is_expected_to_cost_nothing():
    pace = Pace()
    pace.learn(TINY, 10, 0.0)

    assert pace.of(TINY) == LEAST_TASK_SECONDS


def test_claim_times_are_known_by_token():
    times = ClaimTimes()
    before = time.monotonic()
    times.note([row(1, token=7), row(2, token=7)])
    times.note([])

    known = times.of([row(1, token=7), row(3, token=8)])

    assert known.keys() == {7}
    assert before <= known[7] <= time.monotonic()


def test_the_oldest_claim_times_are_forgotten():
    times = ClaimTimes()
    for token in range(CLAIMS_REMEMBERED + 1):
        times.note([row(1, token=token)])

    known = times.of([row(1, token=token) for token in range(CLAIMS_REMEMBERED + 1)])

    assert known.keys() == set(range(1, CLAIMS_REMEMBERED + 1))


def test_a_worker_is_stuck_when_the_first_of_several_takes_longer_than_patience(
    presence: PresenceFile, workers: list[WorkerProcess]
):
    worker = workers[0]
    worker.hold([row(1), row(2)])
    began = worker.heard_at + 1.0
    WorkerPage(presence.fd, 0).begin(1, since=began)

    assert to_recall([worker], presence, began + 0.5, patience=2.0) == ([], began + 2.0)
    assert to_recall([worker], presence, began + 2.0, patience=2.0) == ([worker], float("inf"))


def test_a_worker_that_has_just_reported_is_not_stuck(presence: PresenceFile, workers: list[WorkerProcess]):
    worker = workers[0]
    worker.hold([row(1), row(2)])
    WorkerPage(presence.fd, 0).begin(1, since=worker.heard_at - 5.0)

    assert to_recall([worker], presence, worker.heard_at, patience=1.0) == ([], worker.heard_at + 1.0)


@pytest.mark.parametrize("held", [0, 1, 2])
def test_nothing_is_recalled_twice_or_from_a_worker_that_has_one_task(
    held: int, presence: PresenceFile, workers: list[WorkerProcess]
):
    worker = workers[0]
    worker.hold([row(task_id) for task_id in range(held)])
    worker.recalling = held == 2

    assert to_recall([worker], presence, worker.heard_at + 99.0, patience=1.0) == ([], float("inf"))


def test_ids_of_tasks_are_what_a_worker_holds_them_by(workers: list[WorkerProcess]):
    task = row(5)
    workers[0].hold([task])

    assert workers[0].held == {task[ID]: task}
