"""Runs that take longer than they may are interrupted, whatever they do."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor
from tests.app import interrupted_tasks as processors
from tests.support.waiting import wait_until

from .managing import Bench


@pytest.fixture(scope="module")
def shared_bench(module_bench: Bench) -> Bench:
    module_bench.ready(SLEEP_DELAY_SECONDS=30, INTERRUPT_GRACE_SECONDS=1.5)
    return module_bench


def done(bench: Bench, task: Task) -> Task:
    manager = bench.managers[0]
    wait_until(
        lambda: Task.objects.filter(pk=task.pk, status__in=["finished", "error"]),
        what=lambda: f"{task}\n{manager}",
    )
    task.refresh_from_db()
    return task


def outcome_of(bench: Bench, processor: BaseTaskProcessor) -> Task:
    """Enqueue a task, and return its row when it ran for the last time."""
    return done(bench, processor.delay())


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lock for which runs wait."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", (processors.LOCK,))
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", (processors.LOCK,))


@pytest.mark.parametrize("way", ["sleep", "loop", "wait for a program", "wait for a lock", "log"])
def test_run_that_can_be_interrupted_fails_in_its_own_worker(serving: Bench, way: str):
    with locked():
        task = outcome_of(serving, processors.Limited(way))

    assert (task.status, task.error_reason, task.attempts, task.crashes) == ("error", "timeout", 1, 0)
    assert task.error_type == "django_partisan.exceptions.TaskTimeout"
    assert serving.managers[0].told("worker.exited") == []
