"""Dispatching: no task waits for a busy worker while another one is idle; workers are recycled."""

import os
import signal
import time
from functools import partial

from django_partisan.engine.manager.chunking import TARGET_SECONDS
from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.support.rows import number_of
from tests.support.waiting import wait_until

from .managing import Bench

LONG_SECONDS = 2 * TARGET_SECONDS


def all_finished(ids: list[int]) -> bool:
    return number_of("finished", pk__in=ids) == len(ids)


def learn(bench: Bench, *processors_: processors.Recorded) -> None:
    """Let the manager learn that the tasks of a processor take no time."""
    bulk_delay(processors_)
    wait_until(lambda: number_of("finished") == len(processors_))
    Task.objects.all().delete()


def learn_to_wait(bench: Bench) -> None:
    bench.open("open")
    learn(bench, *(processors.WaitBriefly("open", index) for index in range(200)))
    bench.clear_journal()


def test_max_queue_size_bounds_what_is_claimed_and_not_begun(bench: Bench):
    bench.ready(WORKERS_COUNT=2, MIN_QUEUE_SIZE=2, MAX_QUEUE_SIZE=5)
    bulk_delay(processors.Wait(f"gate{index}") for index in range(20))
    bench.wait_for("begun", 2)

    wait_until(lambda: number_of("in_process") == 5)
    for number, held in enumerate([7, 6, 5, 7, 6, 5, 7]):  # refilled by three when only two have not begun
        # Longer runs get no further task in advance, which would change the numbers.
        begun_at = bench.wait_for("begun", args=[f"gate{number}"])[0]["at"]
        wait_until(lambda: time.monotonic() > begun_at + LONG_SECONDS)  # noqa: B023
        bench.open(f"gate{number}")
        wait_until(lambda: (number_of("finished"), number_of("in_process")) == (number + 1, held))  # noqa: B023


def test_no_more_than_the_maximum_stays_claimed_when_tasks_take_longer_than_expected(bench: Bench):
    bench.ready(WORKERS_COUNT=2, MIN_QUEUE_SIZE=2, MAX_QUEUE_SIZE=5)
    learn_to_wait(bench)
    short = [processors.WaitBriefly("open", index) for index in range(100)]
    bulk_delay([*short, *(processors.WaitBriefly("gate", index) for index in range(40))])

    bench.wait_for("begun", 102)
    # More than the minimum and at most the maximum wait: which number is a matter of timing. So is whether
    # any were claimed early; that those are released is tested in tests/unit/engine/test_dispatcher.py.
    wait_until(lambda: all(2 + 2 < number_of("in_process") <= 2 + 5 for _ in range(10)))

    bench.open("gate")
    wait_until(lambda: number_of("finished") == 140)
    assert len(bench.journal("begun")) == 140


def test_idle_worker_is_fed_whatever_the_sizes_are(bench: Bench):
    bench.ready(WORKERS_COUNT=4, MIN_QUEUE_SIZE=0, MAX_QUEUE_SIZE=1)
    bulk_delay(processors.Wait("gate", index) for index in range(6))

    bench.wait_for("begun", 4, seconds=5)


def test_tasks_that_wait_behind_a_long_one_go_to_an_idle_worker(bench: Bench):
    bench.ready(MIN_QUEUE_SIZE=50, MAX_QUEUE_SIZE=100)
    learn_to_wait(bench)
    ids = bulk_delay(
        [processors.WaitBriefly("gate"), *(processors.WaitBriefly("open", n) for n in range(20))]
    )

    bench.wait_for("ended", 20, seconds=5)
    first = bench.journal("begun")[0]["at"]
    assert max(line["at"] for line in bench.journal("ended")) - first < 0.5
    bench.open("gate")
    wait_until(lambda: number_of("finished") == len(ids))
    assert len(bench.journal("begun")) == 21


def test_what_a_stopped_worker_holds_waits_for_it_and_nothing_else_does(bench: Bench):
    manager = bench.ready()
    learn_to_wait(bench)
    processors.WaitBriefly("gate").delay()
    [stuck] = [line["pid"] for line in bench.wait_for("begun")]
    os.kill(stuck, signal.SIGSTOP)

    ids = bulk_delay(processors.Pass(index) for index in range(50))
    wait_until(lambda: number_of("finished", pk__in=ids) >= 40, 5)
    os.kill(stuck, signal.SIGCONT)
    bench.open("gate")
    wait_until(lambda: number_of("finished") == 51, 5)

    assert set(Task.objects.values_list("attempts", "crashes")) == {(1, 0)}
    assert manager.logged("worker.exited") == []


def test_long_call_in_c_stalls_no_other_worker(bench: Bench):
    bench.ready()
    held = processors.HoldInterpreter(2).delay()
    bench.wait_for("begun")

    ids = bulk_delay(processors.Pass(index) for index in range(50))
    wait_until(lambda: number_of("finished", pk__in=ids) == 50, 1.5)

    assert Task.objects.get(pk=held.pk).status == "in_process"


def test_tasks_recalled_from_a_worker_do_not_count_towards_its_recycling(bench: Bench):
    """Otherwise, a worker that released tasks would neither get more tasks nor be replaced."""
    bench.ready(TASKS_PER_WORKER_INSTANCE=130, MIN_QUEUE_SIZE=100, MAX_QUEUE_SIZE=200)
    learn_to_wait(bench)
    for gate in ("first", "second", "third"):
        behind = [processors.WaitBriefly("open", gate, number) for number in range(100)]
        ids = bulk_delay([processors.WaitBriefly(gate), *behind])
        wait_until(partial(all_finished, ids[1:]), 10)
        bench.open(gate)
        wait_until(partial(all_finished, ids), 10)
    seen = len(bench.journal("begun"))

    bulk_delay(processors.Wait("last", number) for number in range(2))
    bench.wait_for("begun", seen + 2, seconds=5)


def test_worker_is_recycled_after_its_number_of_tasks(bench: Bench):
    manager = bench.ready(TASKS_PER_WORKER_INSTANCE=5)
    bulk_delay(processors.Pass(index) for index in range(40))
    wait_until(lambda: number_of("finished") == 40)

    runs: dict[int, int] = {}
    for line in bench.journal("begun"):
        runs[line["pid"]] = runs.get(line["pid"], 0) + 1
    assert max(runs.values()) == 5
    manager.wait_for("worker.exited", sum(count == 5 for count in runs.values()))
    assert {event["event.reason"] for event in manager.logged("worker.exited")} == {"recycled"}
    assert Task.objects.filter(attempts=1, crashes=0).count() == 40
