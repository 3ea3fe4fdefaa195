"""Large chunks for short tasks, single tasks for long ones, and no idle worker."""

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
    RunTimes,
    chunks,
    recall_stuck,
)
from django_partisan.engine.manager.worker_process import State, WorkerProcess
from django_partisan.engine.presence import PresenceFile, WorkerPage
from django_partisan.engine.worker.report import EVERY_SECONDS
from django_partisan.sql.claiming import PROCESSOR, TaskRow
from tests.support.engine import FakeWorker
from tests.support.rows import task_row

TINY, SHORT, LONG, UNKNOWN = "Tiny", "Short", "Long", "Unknown"


def test_a_worker_reports_before_it_is_refilled_and_is_refilled_before_it_runs_out():
    assert EVERY_SECONDS < REFILL_BELOW_SECONDS < TARGET_SECONDS


@pytest.fixture
def run_times() -> RunTimes:
    known = RunTimes()
    known.record(TINY, 1000, 0.010)
    known.record(SHORT, 8, 2 * TARGET_SECONDS)
    known.record(LONG, 1, 3.0)
    return known


@pytest.fixture
def workers(worker_in: Callable[..., FakeWorker]) -> list[WorkerProcess]:
    """Four ready workers that hold no tasks."""
    made: list[WorkerProcess] = [worker_in(slot).managed for slot in range(4)]
    for worker in made:
        worker.become_ready()
    return made


def filled(*rows: TaskRow) -> Buffer:
    buffer = Buffer()
    buffer.add(list(rows))
    return buffer


def tasks(processor: str, number: int) -> list[TaskRow]:
    return [task_row(task_id, processor) for task_id in range(1, number + 1)]


def at_random(chance: random.Random, workers: list[WorkerProcess]) -> None:
    """Bring workers into random states."""
    for worker in workers:
        worker.state = chance.choice([State.READY, State.READY, State.READY, State.STARTING])
        worker.is_recalling = chance.random() < 0.1
        worker.tasks_left = chance.choice([None, None, 0, 1, 3, 50])
        held = chance.choice([0, 0, 1, 5])
        worker.held = {-task_id: task_row(-task_id, TINY) for task_id in range(1, held + 1)}
        worker.expected_seconds = chance.choice([0.0, 0.001, 0.004, 0.008, 2.0]) if held else 0.0


@pytest.mark.parametrize("seed", range(40))
def test_chunks_keep_their_promises_whatever_the_workers_do(
    seed: int, run_times: RunTimes, workers: list[WorkerProcess]
):
    chance = random.Random(seed)
    for _ in range(25):
        at_random(chance, workers)
        number = chance.choice([0, 2, 9, 60])
        rows = [task_row(n, chance.choice([TINY, SHORT, LONG, UNKNOWN])) for n in range(number)]
        buffer = filled(*rows)
        left_before = {worker.slot: worker.tasks_left for worker in workers}
        idle = {worker.slot for worker in workers if worker.takes_tasks and not worker.held}

        taken = chunks(workers, buffer, run_times)

        assert [one for _, chunk in taken for one in chunk] + buffer.rows() == rows
        for worker, chunk in taken:
            left = left_before[worker.slot]
            assert worker.takes_tasks
            assert left is None or len(chunk) <= left
            is_long = any(run_times.expected(one[PROCESSOR]) >= TARGET_SECONDS for one in chunk)
            assert not is_long or (len(chunk) == 1 and not worker.held)
        fed = {worker.slot for worker, _ in taken}
        assert len(buffer) == 0 or idle <= fed
        assert len(fed & idle) >= min(len(idle), len(rows))


@pytest.mark.parametrize(("number", "shares"), [(10, [3, 3, 2, 2]), (3, [1, 1, 1])])
def test_a_small_buffer_is_shared_among_the_idle(
    number, shares, run_times: RunTimes, workers: list[WorkerProcess]
):
    taken = chunks(workers, filled(*tasks(TINY, number)), run_times)

    assert [len(chunk) for _, chunk in taken] == shares


def test_a_worker_gets_the_expected_work_of_a_few_milliseconds(
    run_times: RunTimes, workers: list[WorkerProcess]
):
    [(worker, chunk)] = chunks(workers[:1], filled(*tasks(SHORT, 50)), run_times)

    assert len(chunk) == 4
    assert worker.expected_seconds == pytest.approx(TARGET_SECONDS)


def test_no_chunk_is_larger_than_allowed(workers: list[WorkerProcess]):
    run_times = RunTimes()
    run_times.record(TINY, 1, 0.0)

    [(_, chunk)] = chunks(workers[:1], filled(*tasks(TINY, 5000)), run_times)

    assert len(chunk) == CHUNK_AT_MOST


def test_tiny_tasks_of_two_processors_share_a_chunk(run_times: RunTimes, workers: list[WorkerProcess]):
    rows = [task_row(1, TINY), task_row(2, SHORT), task_row(3, TINY)]

    [(_, chunk)] = chunks(workers[:1], filled(*rows), run_times)

    assert chunk == rows


def test_a_worker_with_enough_to_do_gets_nothing(run_times: RunTimes, workers: list[WorkerProcess]):
    workers[0].hold([task_row(99, TINY)])
    workers[0].expected_seconds = REFILL_BELOW_SECONDS

    assert chunks(workers[:1], filled(task_row(1, TINY)), run_times) == []


def test_the_least_loaded_is_served_first_and_an_idle_one_before_all(
    run_times: RunTimes, workers: list[WorkerProcess]
):
    for worker, expected in zip(workers, (0.002, 0.001, 0.0), strict=False):
        worker.hold([task_row(99, TINY)])
        worker.expected_seconds = expected

    [(first, _)] = chunks(workers[:2], filled(task_row(1, TINY)), run_times)
    [(second, _)] = chunks(workers, filled(task_row(1, TINY)), run_times)

    assert (first, second) == (workers[1], workers[3])


def test_pace_follows_recent_runs_and_expects_no_task_to_cost_nothing():
    run_times = RunTimes()
    expected = [run_times.expected(TINY)]

    for runs, seconds in ((1, 1.0), (1, 0.5), (100, 20.0), (1000, 0.0)):
        run_times.record(TINY, runs, seconds)
        expected.append(run_times.expected(TINY))

    assert expected == pytest.approx([TARGET_SECONDS, 1.0, 0.9, 0.2, LEAST_TASK_SECONDS])


def test_pace_knows_which_processors_were_measured_and_the_mean_of_them_all():
    run_times = RunTimes()
    assert (run_times.measured(TINY), run_times.mean) == (None, None)

    run_times.record(TINY, 1, 1.0)
    run_times.record(SHORT, 1, 2.0)

    assert (run_times.measured(TINY), run_times.measured(SHORT), run_times.measured(LONG)) == (1.0, 2.0, None)
    assert run_times.mean == pytest.approx(1.2)


def test_the_times_of_the_latest_claims_are_known_by_token():
    times, before = ClaimTimes(), time.monotonic()
    rows = [task_row(1, token=token) for token in range(CLAIMS_REMEMBERED + 2)]
    times.note([])
    for row in rows[:-1]:
        times.note([row, row])

    known = times.of(rows)

    assert known.keys() == set(range(1, CLAIMS_REMEMBERED + 1))
    assert before <= known[1] <= known[CLAIMS_REMEMBERED] <= time.monotonic()


@pytest.mark.parametrize("since_activity", [1.0, -5.0], ids=["runs for long", "has just reported"])
def test_a_worker_is_stuck_when_the_first_of_several_takes_longer_than_patience(
    since_activity: float, presence: PresenceFile, workers: list[WorkerProcess]
):
    worker = workers[0]
    worker.hold([task_row(1), task_row(2)])
    WorkerPage(presence.fd, 0).begin(1, since=worker.active_at + since_activity)
    stale_at = worker.active_at + max(since_activity, 0.0) + 2.0

    assert recall_stuck([worker], presence, stale_at - 1.5, longest_seconds=2.0) == stale_at
    assert not worker.is_recalling
    assert recall_stuck([worker], presence, stale_at, longest_seconds=2.0) == float("inf")
    assert worker.is_recalling


@pytest.mark.parametrize("held", [0, 1, 2])
def test_nothing_is_recalled_twice_or_from_a_worker_that_has_one_task(
    held: int, presence: PresenceFile, workers: list[WorkerProcess]
):
    worker = workers[0]
    worker.hold([task_row(task_id) for task_id in range(held)])
    worker.is_recalling = held == 2

    assert recall_stuck([worker], presence, worker.active_at + 99.0, longest_seconds=1.0) == float("inf")
    assert worker.is_recalling == (held == 2)
