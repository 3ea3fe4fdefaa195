"""The examples of version 1's README do what it says."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import load_command_class
from django.utils import timezone

from django_partisan.config import queues
from django_partisan.models import Task
from django_partisan.testing import drain
from tests.db import original_readme
from tests.db.snippets import Project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project(own_registry: None, monkeypatch: pytest.MonkeyPatch, settings: Any) -> Project:
    return Project(monkeypatch, settings)


def tomorrow() -> Any:
    return timezone.now() + timedelta(days=1)


def parsed(*arguments: str) -> Any:
    command = load_command_class("django_partisan", "start_partisan")
    return command.create_parser("manage.py", "start_partisan").parse_args(arguments)


def test_registered_processor_is_enqueued_and_does_its_work(project: Project):
    done: list[Any] = []
    project.names["do_something"] = lambda *args, **kwargs: done.append((args, kwargs))

    project.run(original_readme.REGISTERED)
    project.run(original_readme.ENQUEUED)
    project.names["do_something_and_postpone_task"](1, to="ada")
    [task] = Task.objects.waiting()
    [ran] = drain()

    assert (task.priority, task.queue_name) == (5, "default")
    assert ran.outcome == "completed"
    assert done == [(([1], {"to": "ada"}), {})]


def test_same_call_while_the_first_waits_adds_no_task(project: Project):
    project.run(original_readme.REGISTERED)
    project.run(original_readme.ENQUEUED)

    for _ in range(2):
        project.names["do_something_and_postpone_task"](1, to="ada")

    assert Task.objects.waiting().count() == 1


def test_task_is_postponed_by_the_seconds_it_gives(project: Project):
    project.run(original_readme.REGISTERED)
    project.run(original_readme.POSTPONED)

    project.names["MyProcessor"]().delay()
    [ran] = drain()

    assert (ran.outcome, ran.delay_seconds) == ("postponed", 300)


def test_task_is_postponed_five_times_and_then_fails(project: Project):
    project.run(original_readme.POSTPONED_AT_MOST)

    project.names["MyProcessor"]().delay()
    ran = drain(now=tomorrow(), raise_errors=False)

    assert [one.outcome for one in ran] == ["postponed"] * 5 + ["failed"]
    assert ran[-1].error is not None
    assert ran[-1].error.type == "django_partisan.exceptions.MaxPostponesReached"


def test_task_is_retried_after_three_six_and_nine_seconds_and_then_fails(project: Project):
    def do_something() -> None:
        raise TimeoutError

    project.run(original_readme.RETRIED)
    project.names["do_something"] = do_something
    project.names["MyProcessor"]().delay()
    ran = drain(now=tomorrow(), raise_errors=False)

    assert [(one.outcome, one.delay_seconds) for one in ran] == [
        ("retried", 3),
        ("retried", 6),
        ("retried", 9),
        ("failed", None),
    ]


def test_queues_are_those_of_the_settings_and_a_task_goes_to_that_of_its_processor(
    project: Project,
):
    project.configure(original_readme.QUEUES)
    project.run(original_readme.IN_ANOTHER_QUEUE)

    project.names["MyProcessor"]().delay()

    assert drain("default") == []
    assert [ran.outcome for ran in drain("another_queue")] == ["completed"]
    assert queues.queue_names() == ["default", "another_queue"]
    assert list(queues.problems()) == []


def test_settings_as_a_dict_are_those_of_the_queue(project: Project):
    project.configure(original_readme.SETTINGS)
    config = queues.queue_config()

    assert (config.min_queue_size, config.max_queue_size, config.checks_before_cleanup) == (10, 20, 50)
    assert (config.workers_count, config.sleep_delay_seconds, config.tasks_per_worker_instance) == (5, 5, 50)
    assert config.delete_tasks_on_complete is False
    assert (config.default_postpone_delay_seconds, config.default_postpones_count) == (5, None)


def test_command_serves_the_queue_that_it_is_told():
    assert parsed().queue_name == "default"
    assert parsed("--queue_name", "another_queue").queue_name == "another_queue"


@pytest.mark.parametrize(
    "name",
    ["min_queue_size", "max_queue_size", "checks_before_cleanup", "workers_count", "sleep_delay_seconds"],
)
def test_settings_are_overridden_by_options(name: str):
    options = parsed(f"--{name}", "7")

    assert getattr(options, name) == 7
    assert getattr(queues.queue_config("default", **{name: 7, "max_queue_size": 7}), name) == 7
