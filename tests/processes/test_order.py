"""The order of runs: by priority, on time, and soon after being enqueued."""

import os
import signal
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone

from django_partisan.models import ManagerLease, Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.app.models import Note
from tests.support.database import is_asleep
from tests.support.waiting import let_pass, wait_until

from .managing import Bench


def begun(bench: Bench) -> list[int]:
    return [line["id"] for line in bench.journal("begun")]


def test_lower_numbers_run_first_and_equal_ones_in_order_of_enqueueing(bench: Bench):
    ids = [processors.Pass(number).delay(priority=number % 3 - 1).pk for number in range(30)]

    assert bench.start("--once", WORKERS_COUNT=1).ended() == 0

    assert begun(bench) == ids[0::3] + ids[1::3] + ids[2::3]


def test_priority_holds_over_many_claims(bench: Bench):
    numbers = [number * 37 % 100 for number in range(100)]
    of = {processors.Pass(number).delay(priority=number).pk: number for number in numbers}

    bench.start("--once", WORKERS_COUNT=1, MIN_QUEUE_SIZE=1, MAX_QUEUE_SIZE=3).ended()

    assert [of[pk] for pk in begun(bench)] == sorted(numbers)


def test_due_task_does_not_wait_for_one_of_higher_priority_that_is_scheduled(bench: Bench):
    processors.Pass("urgent").delay(priority=-9, execute_after=timezone.now() + timedelta(hours=1))
    due = processors.Pass("due").delay(priority=9)

    bench.start("--once").ended()

    assert begun(bench) == [due.pk]


@pytest.mark.parametrize("listen", [True, False])
def test_due_and_scheduled_tasks_start_on_time_also_where_the_table_is_polled(bench: Bench, listen: bool):
    bench.ready(SLEEP_DELAY_SECONDS=1 if not listen else 30, LISTEN=listen)
    start = time.monotonic()
    now = timezone.now()
    at = {
        processors.Pass(delay).delay(execute_after=now + timedelta(seconds=delay)).pk: start + delay
        for delay in (0, 0.5, 1.0, 1.5)
    }
    bench.wait_for("begun", 4)

    lateness = [line["at"] - at[line["id"]] for line in bench.journal("begun")]
    assert min(lateness) > -0.1
    assert max(lateness) < (1 if listen else 2)
    assert listen or not ManagerLease.objects.filter(sleeping=True).exists()


def test_task_enqueued_while_the_manager_sleeps_starts_within_a_second(bench: Bench):
    bench.ready(SLEEP_DELAY_SECONDS=30)
    wait_until(is_asleep)

    for number in range(5):
        asked_at = time.monotonic()
        processors.Pass(number).delay()
        bench.wait_for("begun", number + 1, seconds=5)
        assert bench.journal("begun")[-1]["at"] - asked_at < 1


def test_task_enqueued_in_a_transaction_starts_within_a_second_of_its_commit(bench: Bench):
    bench.ready(SLEEP_DELAY_SECONDS=30)
    wait_until(is_asleep)

    with transaction.atomic():
        processors.Pass().delay()
        bulk_delay([processors.Pass(1), processors.Pass(2)])
        assert not bench.journal("begun")
    committed_at = time.monotonic()
    bench.wait_for("begun", 3, seconds=5)

    assert bench.journal("begun")[-1]["at"] - committed_at < 1


def test_task_enqueued_as_the_manager_falls_asleep_starts_within_a_second(bench: Bench):
    """Pauses of different lengths, so that some insert coincides with the manager falling asleep."""
    bench.ready(SLEEP_DELAY_SECONDS=30, WORKERS_COUNT=1)

    for number in range(60):
        asked_at = time.monotonic()
        processors.Pass(number).delay()
        bench.wait_for("begun", number + 1, seconds=10)
        assert bench.journal("begun")[-1]["at"] - asked_at < 1
        let_pass(0.0005 * number)


def test_completed_task_is_deleted_if_so_configured_and_a_failed_one_stays(bench: Bench):
    bulk_delay(
        [processors.Pass(), processors.Fail("kept"), processors.Atomic("complete"), processors.Postpone(1, 0)]
    )

    assert bench.start("--until-empty", DELETE_TASKS_ON_COMPLETE=True).ended() == 2

    assert [task.processor_class for task in Task.objects.all()] == ["Fail"]
    assert Note.objects.count() == 1


def test_due_task_that_somebody_has_locked_is_not_asked_for_without_pause(bench: Bench):
    manager = bench.ready(SLEEP_DELAY_SECONDS=1)
    with transaction.atomic():
        task = processors.OneArgument(1).delay()  # not committed yet, so invisible to others
    wait_until(lambda: Task.objects.filter(pk=task.pk, status="finished"))
    manager.send(signal.SIGSTOP)
    locked = processors.OneArgument(2).delay()
    with transaction.atomic():
        Task.objects.select_for_update().get(pk=locked.pk)
        manager.send(signal.SIGCONT)
        before = cpu_seconds(manager.pid)
        let_pass(1.5)
        assert cpu_seconds(manager.pid) - before < 0.4
        assert Task.objects.get(pk=locked.pk).status == "new"

    wait_until(lambda: Task.objects.filter(pk=locked.pk, status="finished"), 2)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
