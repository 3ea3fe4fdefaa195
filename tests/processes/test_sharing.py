"""Managers of one queue share its tasks: none holds tasks that another could start earlier."""

import pytest

from django_partisan.models import ManagerLease, Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.support.database import is_asleep
from tests.support.rows import number_of
from tests.support.waiting import wait_until

from .managing import Bench, ManagerProcess


def runs_of(bench: Bench, manager: ManagerProcess) -> int:
    workers = {event["partisan.worker.pid"] for event in manager.logged("worker.started")}
    return sum(line["pid"] in workers for line in bench.journal("begun"))


def test_ten_tasks_that_take_long_are_shared_by_two_managers_of_one_worker_each(bench: Bench):
    managers = [bench.ready(WORKERS_COUNT=1) for _ in range(2)]
    wait_until(is_asleep)

    bulk_delay(processors.Wait(f"gate{number}") for number in range(10))
    for begun in (2, 4, 6, 8, 10):  # each worker runs one task, and both continue when both runs have ended
        for line in bench.wait_for("begun", begun, seconds=60):
            bench.open(line["args"][0])
    bench.wait_for("ended", 10)

    assert [runs_of(bench, manager) for manager in managers] == [5, 5]
    wait_until(lambda: number_of("finished", attempts=1, crashes=0) == 10)


def test_tasks_of_a_short_kind_that_take_long_for_once_are_shared_too(bench: Bench):
    """Both managers have learned that these tasks take no time, so one of them claims them all."""
    managers = [bench.ready(WORKERS_COUNT=1) for _ in range(2)]
    bench.open("open")
    for number in range(100):
        bulk_delay([processors.WaitBriefly("open", number, index) for index in range(2)])
    wait_until(lambda: number_of("finished") == 200 and is_asleep())
    before = [runs_of(bench, manager) for manager in managers]

    bulk_delay(processors.WaitBriefly("gate", number) for number in range(10))
    bench.wait_for("begun", 202)

    after = [runs_of(bench, manager) for manager in managers]
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1]
    wait_until(lambda: number_of("in_process") == 2)
    bench.open("gate")
    wait_until(lambda: number_of("finished") == 210)


def test_manager_that_claimed_all_before_another_started_releases_what_it_cannot_start(bench: Bench):
    first = bench.ready(WORKERS_COUNT=1)
    bulk_delay(processors.Wait("gate", number) for number in range(10))
    wait_until(lambda: number_of("in_process") == 10)

    second = bench.ready(WORKERS_COUNT=1)
    bench.wait_for("begun", 2, seconds=60)
    assert [runs_of(bench, manager) for manager in (first, second)] == [1, 1]
    bench.open("gate")
    wait_until(lambda: number_of("finished") == 10)

    [released, *_] = first.logged("task.released")
    assert released["event.reason"] == "shared"
    assert set(Task.objects.values_list("attempts", "crashes")) == {(1, 0)}
    assert first.stop() == second.stop() == 0
    assert first.logged("manager.stopped")[0]["message"].endswith("0 tasks released")


@pytest.mark.parametrize("others", [0, 1], ids=["alone", "with a manager of another queue"])
def test_manager_without_others_of_its_queue_fills_its_buffer_and_keeps_it(bench: Bench, others: int):
    bench.ready(WORKERS_COUNT=1, LEASE_SECONDS=3)
    for _ in range(others):
        bench.ready("--queue-name", "other", WORKERS_COUNT=1)
    bulk_delay(processors.Wait("gate", number) for number in range(20))
    bench.wait_for("begun")
    wait_until(lambda: number_of("in_process") == 10)

    heartbeats: set[object] = set()

    def has_sent_three_heartbeats() -> bool:
        heartbeats.add(ManagerLease.objects.get(queue_name="default").heartbeat_at)
        return len(heartbeats) > 3

    wait_until(has_sent_three_heartbeats)
    assert number_of("in_process") == 10
    assert bench.managers[0].logged("task.released") == []
    bench.open("gate")
    wait_until(lambda: number_of("finished") == 20)
