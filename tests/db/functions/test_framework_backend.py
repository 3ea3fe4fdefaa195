"""Django's documentation of task backends and their signals, statement by statement.

The statements are from ``ref/tasks``, ``ref/signals`` and ``ref/settings`` of Django 6.0 and 6.1. Nothing
here is specific to our backend; that is in ``under_test.py``.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import run_checks
from django.utils.module_loading import import_string

from tests.app import framework_tasks as functions

from .under_test import Status, UnderTest, framework, signals

pytestmark = pytest.mark.django_db

Backend = type[UnderTest]
NAMES = ("task_enqueued", "task_started", "task_finished")


@pytest.fixture
def sent() -> Iterator[list[tuple[str, type, str, Any]]]:
    """Record the signals: name, sender, result id, and status at that time."""
    seen: list[tuple[str, type, str, Any]] = []
    receivers = {}
    for name in NAMES:

        def receive(sender: type, task_result: Any, name: str = name, **_: Any) -> None:
            seen.append((name, sender, task_result.id, task_result.status))

        receivers[name] = receive
        getattr(signals, name).connect(receive)
    yield seen
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)


def test_the_backend_of_the_alias_default_is_the_default_one(backend: Backend):
    made = framework.task_backends["default"]

    assert type(made) is import_string(backend.PATH)
    assert (made.alias, made.queues) == ("default", {"default", "mail"})
    assert framework.default_task_backend.alias == "default"


def test_a_backend_names_what_it_supports_and_the_tests_here_show_that_it_does(backend: Backend):
    made = framework.task_backends["default"]

    assert made.supports_defer
    assert made.supports_async_task
    assert made.supports_get_result
    assert made.supports_priority


def test_a_backend_enqueues_a_task_with_lists_of_arguments(backend: Backend):
    result = framework.task_backends["default"].enqueue(functions.give_back, [1], {"other": 2})

    assert (result.status, result.args, result.kwargs) == (Status.READY, [1], {"other": 2})


def test_several_backends_can_be_configured(backend: Backend, settings: Any):
    settings.TASKS = {**backend.settings(), "reserve": backend.settings()["default"]}

    result = functions.give_back.using(backend="reserve").enqueue(1)
    backend.run(alias="reserve")
    result.refresh()

    assert (result.backend, result.task.backend, result.return_value) == ("reserve", "reserve", 1)


def test_the_checks_find_nothing_wrong_with_right_settings(backend: Backend):
    assert framework.task_backends["default"].check() == []
    assert run_checks() == []


@pytest.mark.parametrize(
    ("task", "status"), [(functions.give_back, Status.SUCCESSFUL), (functions.fail, Status.FAILED)]
)
def test_signals_are_sent_by_the_backends_class_when_a_task_is_enqueued_starts_and_finishes(
    task: Any, status: Any, backend: Backend, sent: list[Any]
):
    result = task.enqueue()
    when_enqueued = list(sent)

    backend.run()

    sender = import_string(backend.PATH)
    assert when_enqueued == [("task_enqueued", sender, result.id, Status.READY)]
    assert sent[1:] == [
        ("task_started", sender, result.id, Status.RUNNING),
        ("task_finished", sender, result.id, status),
    ]
