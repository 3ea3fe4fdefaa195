"""Django's documentation of tasks, statement by statement: how they are defined, changed and enqueued.

The statements are from ``ref/tasks`` and ``topics/tasks`` of Django 6.0 and 6.1. Nothing here is specific to
our backend; that is in ``under_test.py``.
"""

import datetime
from dataclasses import FrozenInstanceError
from functools import partial
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.db import transaction
from django.utils import timezone

from tests.app import framework_tasks as functions

from .under_test import InvalidTask, UnderTest, base, framework

pytestmark = pytest.mark.django_db

Backend = type[UnderTest]


def test_a_decorated_function_is_a_task_with_the_documented_defaults():
    task = functions.give_back

    assert isinstance(task, base.Task)
    assert (task.priority, task.backend, task.queue_name, task.run_after) == (0, "default", "default", None)
    assert functions.with_priority.priority == 7


def test_the_name_of_a_task_is_that_of_its_function():
    assert functions.give_back.name == "give_back"


def test_the_attributes_of_a_task_cannot_be_modified():
    with pytest.raises(FrozenInstanceError):
        functions.give_back.priority = 1


def test_using_makes_another_task_and_leaves_the_first_unchanged(backend: Backend):
    moment = timezone.now() + datetime.timedelta(hours=1)

    changed = functions.give_back.using(priority=5, queue_name="mail", run_after=moment, backend="default")

    assert (changed.priority, changed.queue_name, changed.run_after) == (5, "mail", moment)
    assert (functions.give_back.priority, functions.give_back.queue_name) == (0, "default")


def test_a_function_inside_another_is_invalid(backend: Backend):
    def inner() -> None: ...

    with pytest.raises(InvalidTask):
        framework.task(inner)


def test_a_function_that_takes_the_context_without_the_argument_is_invalid(backend: Backend):
    with pytest.raises(InvalidTask, match="context"):
        framework.task(functions.give_back.func, takes_context=True)


@pytest.mark.parametrize("priority", [-101, 101, 1.5])
def test_a_priority_is_a_whole_number_between_minus_100_and_100(priority: Any, backend: Backend):
    for allowed in (-100, 100):
        assert functions.give_back.using(priority=allowed).priority == allowed

    with pytest.raises(InvalidTask, match="priority"):
        functions.give_back.using(priority=priority)


def test_tasks_of_a_higher_priority_run_sooner(backend: Backend):
    for priority in (-100, 1, 0, 100):
        functions.note.using(priority=priority).enqueue(priority)

    backend.run()

    assert functions.notes == [100, 1, 0, -100]


def test_a_task_does_not_run_before_its_time(backend: Backend):
    moment = timezone.now() + datetime.timedelta(hours=1)
    functions.note.using(run_after=moment).enqueue("later")

    backend.run(now=moment - datetime.timedelta(minutes=1))
    before = list(functions.notes)
    backend.run(now=moment + datetime.timedelta(minutes=1))

    assert (before, functions.notes) == ([], ["later"])


# The reference of 6.0 also allows a timedelta. Django's own validation, which every backend inherits, does
# not: it checks the time zone of the value.


def test_a_time_without_a_zone_is_invalid(backend: Backend):
    with pytest.raises(InvalidTask, match="aware"):
        functions.note.using(run_after=datetime.datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_queue_must_be_one_of_the_backends_queues(backend: Backend):
    with pytest.raises(InvalidTask, match="elsewhere"):
        functions.note.using(queue_name="elsewhere")


def test_the_queue_default_is_the_only_one_unless_others_are_listed(backend: Backend, settings: Any):
    settings.TASKS = backend.settings()

    with pytest.raises(InvalidTask, match="mail"):
        functions.note.using(queue_name="mail")


def test_an_empty_list_of_queues_allows_every_queue(backend: Backend, settings: Any):
    settings.TASKS = backend.settings(QUEUES=[])

    functions.note.using(queue_name="elsewhere").enqueue(1)
    backend.run("elsewhere")

    assert functions.notes == [1]


def test_a_task_runs_in_its_own_queue(backend: Backend):
    functions.note.using(queue_name="mail").enqueue("a letter")

    backend.run("default")
    before = list(functions.notes)
    backend.run("mail")

    assert (before, functions.notes) == ([], ["a letter"])


def test_enqueue_refuses_a_task_that_is_not_valid_any_more(backend: Backend, settings: Any):
    task = functions.note.using(queue_name="mail")
    settings.TASKS = backend.settings()

    with pytest.raises(InvalidTask):
        task.enqueue(1)


def test_arguments_make_a_round_trip_through_json(backend: Backend):
    result = functions.give_back.enqueue((1, (2,)), key={"a": b"b"})

    backend.run()
    result.refresh()

    assert (result.args, result.kwargs) == ([[1, [2]]], {"key": {"a": "b"}})
    assert result.return_value == {"value": [1, [2]], "key": {"a": "b"}}


def test_a_tuple_is_a_list_when_the_function_gets_it(backend: Backend):
    result = functions.double_dictionary.enqueue((1, 2, 3))

    backend.run()
    result.refresh()

    [error] = result.errors
    assert error.exception_class is TypeError
    assert "unhashable type: 'list'" in error.traceback


def test_arguments_that_are_no_json_are_refused(backend: Backend):
    with pytest.raises(TypeError):
        functions.give_back.enqueue(timezone.now())


def test_aenqueue_does_what_enqueue_does(backend: Backend):
    result = async_to_sync(functions.give_back.aenqueue)(1, other=2)
    assert (result.args, result.kwargs) == ([1], {"other": 2})

    backend.run()
    result.refresh()

    assert result.return_value == {"value": 1, "other": 2}


def test_a_coroutine_function_can_be_a_task(backend: Backend):
    result = functions.give_back_later.enqueue("value")

    backend.run()
    result.refresh()

    assert result.return_value == "value"


def test_enqueueing_on_commit_works(backend: Backend, django_capture_on_commit_callbacks: Any):
    with django_capture_on_commit_callbacks(execute=True), transaction.atomic():
        transaction.on_commit(partial(functions.note.enqueue, value="committed"))

    backend.run()

    assert functions.notes == ["committed"]


def test_call_and_acall_run_the_function_at_once():
    assert functions.give_back.call(1) == 1
    assert functions.give_back_later.call(2) == 2
    assert async_to_sync(functions.give_back.acall)(3) == 3
    assert async_to_sync(functions.give_back_later.acall)(4) == 4
