"""What a task's row records about its runs, after real runs in a manager's loop."""

import json
import os
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils.dateparse import parse_datetime

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.engine.manager.run_until import Until
from django_partisan.exceptions import PostponeTask
from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor
from tests.db.engine.manager_harness import ManagerHarness
from tests.support.engine import NO_PID
from tests.support.rows import insert

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_subscribers")]

HERE = f"{socket.gethostname()}:{os.getpid()}"  # the workers are threads of this process


class Flaky(BaseTaskProcessor):
    """At each attempt, do what the argument at that position says."""

    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([OSError], retries_count=2, retry_pause=0)

    def run(self) -> None:
        getattr(self, self.args[self.task.attempt - 1])()

    def complete(self) -> None: ...

    def wait(self) -> None:
        raise PostponeTask(0, reason="too early")

    def lose_the_net(self) -> None:
        raise ConnectionError("no net")

    def break_(self) -> None:
        raise ValueError("broken")


class Whole(Flaky):
    ATOMIC = True


@pytest.fixture
def run(temporary_folder: object, own_registry: None) -> Iterator[Callable[..., Any]]:
    """Return a function that runs one task until nothing is left to do, and returns its row."""
    registry.register(Flaky)
    registry.register(Whole)
    made: list[ManagerHarness] = []

    def run_one(*what: str, processor: str = "Flaky", **settings: Any) -> Any:
        arguments = json.dumps({"args": what, "kwargs": {}})
        task = insert(processor=processor, arguments=arguments)
        made.append(ManagerHarness(Until.IDLE, **settings))
        made[-1].turn_until(lambda: made[-1].manager.is_stopped)
        return Task.objects.filter(pk=task.pk).first() or task

    yield run_one
    for harness in made:
        harness.close()


def moment(text: str) -> datetime:
    found = parse_datetime(text)
    assert found is not None
    return found


def history_entries(task: Any) -> list[tuple[Any, ...]]:
    return [
        (entry["outcome"], entry["attempt"], entry.get("reason"), entry.get("error_type"))
        for entry in task.history
    ]


def test_a_task_that_completes_at_its_first_attempt_keeps_when_and_where_it_ran_and_no_history(run):
    task = run("complete")

    name = f"{socket.gethostname()}:{NO_PID}"  # the process id that the manager sees
    assert (task.status, task.history, task.worker) == ("finished", None, name)
    assert task.claimed_at <= task.started_at <= task.finished_at


@pytest.mark.parametrize("processor", ["Flaky", "Whole"])
def test_every_run_that_did_not_complete_is_told_and_then_the_last_one(processor, run):
    task = run("wait", "lose_the_net", "complete", processor=processor)

    assert history_entries(task) == [
        ("postponed", 1, None, None),
        ("retried", 2, None, "ConnectionError"),
        ("completed", 3, None, None),
    ]
    postponed, retried, completed = task.history
    assert postponed["comment"] == "too early"
    assert retried["error_message"] == "no net"
    assert retried["traceback"].endswith("ConnectionError: no net\n")
    assert {entry["worker"] for entry in task.history} == {task.worker} == {HERE}
    moments = [moment(entry[key]) for entry in task.history for key in ("started_at", "ended_at")]
    assert moments == sorted(moments)
    assert all(0 <= entry["seconds"] < 60 for entry in task.history)
    assert abs(moments[-2] - task.started_at) < timedelta(milliseconds=1)
    assert completed.keys() == {"outcome", "attempt", "started_at", "ended_at", "seconds", "worker"}


def test_a_failed_task_tells_its_failure_and_runs_that_equal_each_other_are_one_entry(run):
    task = run("lose_the_net", "lose_the_net", "lose_the_net")

    assert task.status == "error"
    assert history_entries(task) == [
        ("retried", 2, None, "ConnectionError"),
        ("failed", 3, "retries_exhausted", "ConnectionError"),
    ]
    retried = task.history[0]
    assert retried["count"] == 2
    assert retried["first_ended_at"] < retried["started_at"]


def test_a_failure_at_the_first_attempt_is_told(run):
    assert history_entries(run("break_")) == [("failed", 1, "error", "ValueError")]


@pytest.mark.parametrize("processor", ["Flaky", "Whole"])
def test_a_repeated_task_that_completes_is_deleted_where_the_settings_say_so(processor, run):
    run("wait", "complete", processor=processor, delete_tasks_on_complete=True)

    assert not Task.objects.exists()
