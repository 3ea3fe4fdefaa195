"""Other sessions' open transactions and the server's limits delay only the outcomes that they concern."""

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.support.database import lock_waits, open_transaction, this_database
from tests.support.rows import columns, lock_of, number_of
from tests.support.triggers import slow
from tests.support.waiting import wait_until

from .managing import Bench

SOON_SECONDS = 8.0
"""Much shorter than the foreign transactions stay open, and much longer than a manager needs."""


def duplicates_of(*ids: int) -> str:
    """Return the statement that enqueues duplicates of tasks, for another transaction."""
    return f"""
        INSERT INTO django_partisan_task (status, queue_name, created_at, updated_at, processor_class,
                                          priority, execute_after, ready, arguments, extra, unique_key)
        SELECT 'new', queue_name, now(), now(), processor_class, priority, now(), true, arguments, '{{}}',
               unique_key
          FROM django_partisan_task WHERE id IN ({", ".join(map(str, ids))})
    """


def test_an_open_transaction_with_the_duplicate_of_a_postponed_task_holds_up_no_other_outcome(bench: Bench):
    bench.ready()
    task = processors.Twin("gate").delay()
    bench.wait_for("begun")

    with open_transaction(duplicates_of(task.pk)):
        bench.open("gate")
        ids = bulk_delay(processors.Pass(number) for number in range(50))
        wait_until(lambda: number_of("finished", pk__in=[*ids, task.pk]) == 51, SOON_SECONDS)

    assert columns(task.pk, "unique_key", "postpones") == (None, 1)
    assert len(bench.journal("begun", processor="Pass")) == 50


def test_an_open_transaction_with_the_duplicates_of_released_tasks_holds_up_no_stop(bench: Bench):
    manager = bench.ready("--stop-timeout", "5", WORKERS_COUNT=1, MAX_QUEUE_SIZE=30)
    running = processors.Wait("gate").delay()
    bench.wait_for("begun")
    claimed = bulk_delay(processors.OneArgument(number) for number in range(20))
    wait_until(lambda: number_of("in_process") == 21)

    with open_transaction(duplicates_of(*claimed)):
        manager.send(signal.SIGTERM)
        wait_until(lock_waits, what="the worker has returned what it had not begun")
        bench.open("gate")
        assert manager.ended(SOON_SECONDS) == 0

    assert columns(running.pk, "status") == "finished"
    assert number_of("new", pk__in=claimed, unique_key=None, attempts=0) == 20


def test_a_row_that_another_transaction_locks_holds_up_nothing_and_a_stop_names_it(bench: Bench):
    manager = bench.ready("--stop-timeout", "2")
    task = processors.Wait("gate").delay()
    bench.wait_for("begun")

    with open_transaction(lock_of(task.pk)):
        bench.open("gate")
        bench.wait_for("ended")
        ids = bulk_delay(processors.Pass(number) for number in range(50))
        wait_until(lambda: number_of("finished", pk__in=ids) == 50, SOON_SECONDS)
        manager.send(signal.SIGTERM)
        assert manager.ended(SOON_SECONDS) == 1

    [stopped] = manager.logged("manager.stopped")
    assert stopped["partisan.manager.unfinished_ids"] == [str(task.pk)]
    assert columns(task.pk, "status") == "in_process"


def test_a_row_that_another_transaction_locked_is_settled_soon_after(bench: Bench):
    bench.ready()
    task = processors.Wait("gate").delay()
    bench.wait_for("begun")

    with open_transaction(lock_of(task.pk)):
        bench.open("gate")
        bench.wait_for("ended")
        ids = bulk_delay(processors.Pass(number) for number in range(5))
        wait_until(lambda: number_of("finished", pk__in=ids) == 5, SOON_SECONDS)
    wait_until(lambda: columns(task.pk, "status") == "finished", SOON_SECONDS)

    assert columns(task.pk, "attempts", "crashes") == (1, 0)
    assert len(bench.journal("begun", id=task.pk)) == 1


def test_a_task_whose_row_is_deleted_while_it_runs_does_not_run_again_when_its_worker_dies(bench: Bench):
    manager = bench.ready(WORKERS_COUNT=1)
    task = processors.Wait("gate").delay()
    [begun] = bench.wait_for("begun")
    Task.objects.filter(pk=task.pk).delete()

    os.kill(begun["pid"], signal.SIGKILL)
    manager.wait_for("worker.ready", 2)
    other = processors.Pass(1).delay()
    wait_until(lambda: number_of("finished", pk=other.pk))

    assert len(bench.journal("begun", id=task.pk)) == 1
    assert [event["partisan.task.id"] for event in manager.logged("task.claim_lost")] == [str(task.pk)]
    assert manager.logged("task.rescued") == []


@pytest.fixture
def slow_rows(db: None) -> Iterator[None]:
    """Delay the completion of a task by 20 ms, or by 2 s if its priority is 99."""
    with slow("CASE NEW.priority WHEN 99 THEN 2 ELSE 0.02 END", "NEW.status = 'finished'"):
        yield


def impatient() -> dict[str, Any]:
    """Return database settings with a statement timeout of 400 ms."""
    return {**this_database(), "OPTIONS": {"options": "-c statement_timeout=400"}}


@pytest.mark.usefixtures("slow_rows")
def test_with_a_statement_timeout_a_large_batch_is_settled_in_parts(bench: Bench):
    manager = bench.ready(database=impatient(), MAX_QUEUE_SIZE=300)
    ids = bulk_delay(processors.WaitBriefly("gate", number) for number in range(2))
    bench.wait_for("begun", 2)
    ids += bulk_delay(processors.Pass(number) for number in range(150))
    bench.open("gate")

    wait_until(lambda: number_of("finished", pk__in=ids, attempts=1) == 152)

    assert len(bench.journal("begun")) == 152
    assert manager.stop() == 0


@pytest.mark.usefixtures("slow_rows")
def test_a_task_that_cannot_be_settled_within_statement_timeout_is_told_with_what_to_set(bench: Bench):
    manager = bench.ready(database=impatient())
    slow = processors.Pass().delay(priority=99)
    manager.wait_for("task.settle_failed")
    ids = bulk_delay(processors.Pass(number) for number in range(5))

    wait_until(lambda: number_of("finished", pk__in=ids) == 5)

    [failed] = manager.logged("task.settle_failed")
    assert "ALTER ROLE ... SET statement_timeout" in failed["message"]
    assert columns(slow.pk, "status") == "in_process"
