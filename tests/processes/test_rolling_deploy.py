"""Managers with new and old code serve one queue: each runs the processors it has, and nothing fails."""

import pytest

from django_partisan import registry
from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.support.registry import Idle
from tests.support.rows import number_of
from tests.support.waiting import wait_until

from .managing import Bench


class Newcomer(Idle):
    """The new processor, as the enqueuing process defines it."""

    UNIQUE_FOR_PARAMS = False


@pytest.mark.usefixtures("own_registry")
def test_tasks_of_a_new_processor_wait_for_managers_that_know_it_and_old_ones_leave_them_alone(bench: Bench):
    registry.register(Newcomer)
    registry.register(processors.Pass)
    old = bench.ready(LEASE_SECONDS=3)
    early = bulk_delay(Newcomer(number) for number in range(200))
    wait_until(lambda: Task.objects.held().count() == 200)

    new = bench.start(LEASE_SECONDS=3, variables={"KNOWS_NEWCOMER": "1"})
    wait_until(lambda: number_of("finished") == 200)
    late = bulk_delay(Newcomer(number) for number in range(200))
    others = bulk_delay(processors.Pass(number) for number in range(200))
    wait_until(lambda: number_of("finished") == 600)

    runs = bench.journal("begun")
    newcomers = [line for line in runs if line["processor"] == "Newcomer"]
    assert sorted(line["id"] for line in newcomers) == sorted(early + late)
    assert {line["pid"] for line in newcomers} <= set(new.workers())
    assert sorted(line["id"] for line in runs) == sorted(early + late + others)
    assert set(Task.objects.values_list("attempts", "held", "unregistered_since")) == {(1, None, None)}
    assert old.logged("task.failed") == new.logged("task.failed") == []
    assert sum(line["partisan.hold.count"] for line in new.wait_for("task.resumed")) >= 200
    assert [old.stop(), new.stop()] == [0, 0]
