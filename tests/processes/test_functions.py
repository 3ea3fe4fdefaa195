"""Functions of Django's task framework on real workers, which are killed and recycled during the test."""

import os
import random
import signal
from collections import Counter
from contextlib import suppress
from typing import Any

import pytest

from django_partisan.backend import bulk_enqueue
from django_partisan.exceptions import TaskTimeout
from django_partisan.functions.framework import base
from django_partisan.models import Task
from tests.app import dying, tasks, undiscovered
from tests.support.rows import number_of
from tests.support.waiting import wait_until

from .managing import Bench

CALLS = int(os.environ.get("PARTISAN_FUNCTION_CALLS", "1000"))


def wait_for_finished(number: int) -> None:
    def finished() -> int:
        return number_of("finished")

    wait_until(lambda: finished() >= number, progress=finished)


def killed_one_of(workers: list[int], choose: random.Random) -> bool:
    """Kill a worker; return ``False`` if there was none, or if it had just ended by itself."""
    if not workers:
        return False
    with suppress(ProcessLookupError):
        os.kill(choose.choice(workers), signal.SIGKILL)
        return True
    return False


def test_each_result_is_that_of_its_own_call_though_workers_are_recycled_and_killed(bench: Bench):
    results = bulk_enqueue(tasks.add, [((number,), {"other": -1}) for number in range(CALLS)])
    manager = bench.ready(WORKERS_COUNT=4, MAX_CRASHES=99, TASKS_PER_WORKER_INSTANCE=200, MAX_QUEUE_SIZE=100)
    choose = random.Random(7)
    for finished in range(CALLS // 20, CALLS * 9 // 10, CALLS // 20):
        wait_for_finished(finished)
        wait_until(lambda: killed_one_of(manager.workers(), choose))

    wait_for_finished(CALLS)

    for result in results:
        result.refresh()
    assert [result.return_value for result in results] == [number - 1 for number in range(CALLS)]
    assert Counter(result.status for result in results) == {base.TaskResultStatus.SUCCESSFUL: CALLS}


def test_rows_of_functions_are_kept_where_those_of_processors_are_deleted(bench: Bench):
    bench.ready(DELETE_TASKS_ON_COMPLETE=True)

    result = tasks.later.enqueue([1])

    wait_until(lambda: Task.objects.finished().filter(pk=int(result.id)))
    result.refresh()
    assert (result.return_value, result.attempts, len(result.worker_ids)) == ([1], 1, 1)


def test_a_worker_imports_the_module_of_a_path_that_it_does_not_know(bench: Bench):
    bench.ready()

    result = undiscovered.greet.enqueue("Ada")

    wait_until(lambda: Task.objects.finished().filter(pk=int(result.id)))
    result.refresh()
    assert result.return_value == "Hello, Ada"


def test_a_function_has_a_time_limit_of_its_own(bench: Bench):
    bench.ready()

    result = tasks.slow.enqueue(3600)

    wait_until(lambda: Task.objects.failed().filter(pk=int(result.id)))
    result.refresh()
    assert Task.objects.get(pk=int(result.id)).error_reason == "timeout"
    assert [error.exception_class for error in result.errors] == [TaskTimeout]


def test_a_function_in_a_module_that_only_workers_import_has_its_time_limit_in_its_first_run(bench: Bench):
    bench.ready(WORKERS_COUNT=1)

    result = undiscovered.sleep.enqueue(3600)

    wait_until(lambda: Task.objects.failed().filter(pk=int(result.id)))
    assert Task.objects.get(pk=int(result.id)).error_reason == "timeout"


def test_a_function_in_a_module_that_only_workers_import_is_retried_after_its_worker_was_killed(bench: Bench):
    manager = bench.ready(WORKERS_COUNT=1, INTERRUPT_GRACE_SECONDS=0.2)

    result = undiscovered.refuse_to_end.enqueue()

    wait_until(lambda: Task.objects.waiting().filter(pk=int(result.id), retries=1))
    result.refresh()
    assert [error.exception_class for error in result.errors] == [TaskTimeout]
    assert len(manager.logged("worker.killed")) == 1


@pytest.mark.parametrize(
    ("function", "runs"),
    [(dying.give_run, [1, 2]), (dying.give_run_and_settle, [1])],
    ids=["not atomic", "atomic"],
)
def test_a_worker_that_is_killed_after_the_return_leaves_the_result_of_the_run_that_is_settled(
    function: Any, runs: list[int], bench: Bench
):
    bench.ready(WORKERS_COUNT=1)
    seen: list[Any] = []
    result = function.enqueue()

    def is_finished() -> bool:
        result.refresh()
        with suppress(ValueError):  # it has no return value yet
            seen.append(result.return_value)
        return bool(result.is_finished)

    wait_until(is_finished)

    [(run, pid)] = seen
    assert [line["run"] for line in bench.journal("returned")] == runs
    assert run == runs[-1]
    assert pid == bench.journal("returned")[-1]["pid"]
    assert result.worker_ids[-1].endswith(f":{pid}")
    assert result.attempts == len(runs)
