"""While a manager hangs or is dead, nothing new runs in it, and running tasks run once."""

import os
import signal

from django_partisan.models import ManagerLease, Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.support.rows import number_of
from tests.support.waiting import let_pass, wait_until

from .managing import Bench


def test_workers_of_a_manager_that_hangs_start_nothing_past_the_end_of_its_lease(bench: Bench):
    manager = bench.ready(WORKERS_COUNT=1, LEASE_SECONDS=3)
    bulk_delay(kind(0) for kind in (processors.HoldInterpreter, processors.Pass) for _ in range(100))
    wait_until(lambda: number_of("finished") == 200)
    Task.objects.all().delete()
    bench.clear_journal()
    bulk_delay([processors.HoldInterpreter(5), *(processors.Pass(number) for number in range(5))])
    bench.wait_for("begun")

    manager.send(signal.SIGSTOP)
    bench.wait_for("ended")
    let_pass(0.5)

    assert len(bench.journal("begun")) == 1
    manager.send(signal.SIGCONT)
    wait_until(lambda: number_of("finished", attempts=1) == 6)


def test_task_that_outlives_its_manager_runs_once_and_others_take_the_rest_over(bench: Bench):
    victim = bench.ready(WORKERS_COUNT=1, LEASE_SECONDS=3)
    [outlives, *rest] = bulk_delay(
        [processors.Wait("gate"), *(processors.Pass(number) for number in range(5))]
    )
    bench.wait_for("begun")
    wait_until(lambda: number_of("in_process") == 6)
    near = bench.ready(WORKERS_COUNT=1, LEASE_SECONDS=3)
    far = bench.ready(WORKERS_COUNT=1, LEASE_SECONDS=3, variables={"TEST_HOST": "far-away"})

    victim.send(signal.SIGKILL)
    wait_until(lambda: number_of("finished", pk__in=rest) == 5)
    let_pass(9)
    bench.open("gate")
    wait_until(lambda: number_of("finished") == 6)

    assert len(bench.journal("begun", id=outlives)) == 1
    assert set(Task.objects.values_list("attempts", "crashes")) == {(1, 0)}
    wait_until(victim.is_gone, what="the worker ended with its run")
    rows = ManagerLease.objects.values_list("pid", flat=True)
    assert set(rows) == {near.pid, far.pid}


def test_worker_that_outlives_its_manager_is_rescued_at_once_when_it_dies_too(bench: Bench):
    victim = bench.ready(WORKERS_COUNT=1)
    processors.Wait("gate").delay()
    [worker] = [line["pid"] for line in bench.wait_for("begun")]
    near = bench.ready(WORKERS_COUNT=1)

    victim.send(signal.SIGKILL)
    held = ManagerLease.objects.filter(pid=worker)
    wait_until(lambda: Task.objects.filter(claimed_by__in=held.values("pk")).exists())
    os.kill(worker, signal.SIGKILL)
    near.wait_for("task.rescued", seconds=10)
    bench.open("gate")

    wait_until(lambda: number_of("finished", attempts=2, crashes=1) == 1)
    wait_until(lambda: not held.exists())
