"""A task that has not started when it expires ends without a run, wherever it is at that moment."""

import signal
from datetime import timedelta

from django.utils import timezone

from django_partisan.models import Task
from tests.app import partisan_tasks as processors
from tests.support.rows import statuses_of
from tests.support.waiting import wait_until

from .managing import Bench, ManagerProcess

LOST = timedelta(minutes=1)


def logged(manager: ManagerProcess) -> set[tuple[str, str, str]]:
    lines = (line for action in ("task.expired", "task.failed") for line in manager.logged(action))
    return {(line["event.action"], line["log.level"], line["partisan.task.id"]) for line in lines}


def test_tasks_that_expire_before_their_claim_or_behind_a_long_run_never_start(bench: Bench):
    past = [processors.Pass("past").delay(expires=timezone.now() - LOST) for _ in range(30)]
    manager = bench.ready(WORKERS_COUNT=1)
    wait_until(lambda: set(statuses_of(*(task.pk for task in past))) == {"error"})
    gate = processors.Wait("gate").delay()
    bench.wait_for("begun")
    behind = [processors.Pass("behind").delay(expires=2) for _ in range(3)]
    last = processors.Pass("last").delay(expires=3600)
    expiry = max(task.expires_at for task in behind if task.expires_at)
    wait_until(lambda: timezone.now() > expiry)

    bench.open("gate")

    wait_until(lambda: statuses_of(gate.pk, last.pk) == ["finished"] * 2)
    ids = [task.pk for task in (*past, *behind)]
    wait_until(lambda: set(statuses_of(*ids)) == {"error"})
    ended = Task.objects.filter(pk__in=ids).values_list("error_reason", "attempts", "started_at", "worker")
    assert set(ended) == {("expired", 0, None, None)}
    assert {line["id"] for line in bench.journal("begun")} == {gate.pk, last.pk}
    wait_until(lambda: len(logged(manager)) == len(ids))
    assert logged(manager) == {("task.expired", "info", str(task_id)) for task_id in ids}


def test_a_requeued_task_runs_although_it_had_expired(bench: Bench):
    task = processors.Pass("late").delay(expires=timezone.now() - LOST)
    bench.ready(WORKERS_COUNT=1)
    wait_until(lambda: statuses_of(task.pk) == ["error"])

    Task.objects.requeue(reasons=["expired"])

    wait_until(lambda: statuses_of(task.pk) == ["finished"])


def test_a_task_whose_run_was_stopped_by_force_has_started_and_runs_again_after_its_expiry(bench: Bench):
    manager = bench.ready(WORKERS_COUNT=1)
    task = processors.Wait("gate").delay(expires=3)
    bench.wait_for("begun")
    behind = processors.Pass("behind").delay(expires=3)
    wait_until(lambda: statuses_of(behind.pk) == ["in_process"])
    manager.send(signal.SIGTERM)
    manager.wait_for("manager.draining")
    manager.send(signal.SIGTERM)
    assert manager.ended(5) == 1
    assert statuses_of(task.pk, behind.pk) == ["new", "new"]
    expiry = behind.expires_at
    assert expiry is not None
    wait_until(lambda: timezone.now() > expiry)

    bench.open("gate")
    bench.ready(WORKERS_COUNT=1)

    wait_until(lambda: statuses_of(task.pk, behind.pk) == ["finished", "error"])
