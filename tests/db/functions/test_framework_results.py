"""Django's documentation of task results, statement by statement: their state before, in and after a run.

The statements are from ``ref/tasks`` and ``topics/tasks`` of Django 6.0 and 6.1. Nothing here is specific to
our backend; that is in ``under_test.py``.
"""

from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.utils import timezone

from tests.app import framework_tasks as functions

from .under_test import Status, UnderTest, base, exceptions, framework

pytestmark = pytest.mark.django_db

Backend = type[UnderTest]


def test_a_result_belongs_to_the_task_that_was_enqueued_and_names_its_backend(backend: Backend):
    task = functions.give_back.using(priority=3, queue_name="mail")

    result = task.enqueue(1)

    assert isinstance(result, base.TaskResult)
    assert result.task == task
    assert result.backend == "default"


def test_ids_are_unique_strings_of_less_than_64_characters(backend: Backend):
    ids = [functions.give_back.enqueue(1).id for _ in range(3)]

    assert len(set(ids)) == 3
    assert all(isinstance(one, str) and len(one) < 64 for one in ids)


def test_the_attributes_of_a_result_cannot_be_modified(backend: Backend):
    result = functions.give_back.enqueue()

    with pytest.raises(FrozenInstanceError):
        result.status = Status.FAILED


def test_a_task_that_has_just_been_enqueued_is_ready(backend: Backend):
    before = timezone.now()

    result = functions.give_back.enqueue()

    assert (result.status, result.is_finished, result.attempts) == (Status.READY, False, 0)
    assert (result.started_at, result.last_attempted_at, result.finished_at) == (None, None, None)
    assert (result.errors, result.worker_ids) == ([], [])
    assert abs((result.enqueued_at - before).total_seconds()) < 60


def test_a_task_that_runs_is_running(backend: Backend):
    result = functions.look_at_itself.enqueue()

    backend.run()
    result.refresh()

    seen = result.return_value
    assert seen["statuses"] == ["RUNNING", "RUNNING"]
    assert seen["started"] == [True, True]
    assert seen["ids"] == [result.id, result.id]


def test_the_context_counts_attempts_from_one(backend: Backend):
    # The reference says that TaskResult.attempts does not count a running attempt. Django's code counts it:
    # attempts is the number of worker_ids, to which the immediate backend adds an entry when a run starts,
    # and TaskContext.attempt, documented to start at 1, is the same number. We follow the code.
    result = functions.look_at_itself.enqueue("first")

    backend.run()
    result.refresh()

    assert (result.return_value["attempt"], result.return_value["value"]) == (1, "first")
    assert result.return_value["attempts"] == [1, 1]


def test_the_attributes_of_a_context_cannot_be_modified(backend: Backend):
    result = functions.change_the_context.enqueue()

    backend.run()
    result.refresh()

    assert result.errors[0].exception_class is FrozenInstanceError


def test_a_task_that_succeeded_has_its_return_value(backend: Backend):
    result = functions.give_back.enqueue([1, {"a": None}])

    backend.run()
    result.refresh()

    assert (result.status, result.is_finished, result.attempts) == (Status.SUCCESSFUL, True, 1)
    assert result.return_value == [1, {"a": None}]
    assert result.enqueued_at <= result.finished_at
    assert result.started_at == result.last_attempted_at
    assert (len(result.worker_ids), result.errors) == (1, [])


def test_a_function_without_a_return_value_returns_none(backend: Backend):
    result = functions.note.enqueue(1)

    backend.run()
    result.refresh()

    assert (result.status, result.return_value) == (Status.SUCCESSFUL, None)


def test_a_task_that_raised_has_failed_and_lists_its_error(backend: Backend):
    result = functions.fail.enqueue("a message")

    backend.run()
    result.refresh()

    assert (result.status, result.is_finished, result.attempts) == (Status.FAILED, True, 1)
    assert None not in (result.started_at, result.last_attempted_at, result.finished_at)
    [error] = result.errors
    assert error.exception_class is LookupError
    assert error.traceback.startswith("Traceback (most recent call last):")
    assert "LookupError: a message" in error.traceback
    assert len(result.worker_ids) == 1


def test_a_return_value_that_is_no_json_fails_the_task(backend: Backend):
    result = functions.give_no_json.enqueue()

    backend.run()
    result.refresh()

    assert result.status == Status.FAILED
    assert issubclass(result.errors[0].exception_class, TypeError | ValueError)


def test_the_return_value_of_a_task_that_has_not_succeeded_raises_value_error(backend: Backend):
    waiting, failed = functions.give_back.enqueue(), functions.fail.enqueue()

    with pytest.raises(ValueError, match="not finished"):
        _ = waiting.return_value
    backend.run()
    failed.refresh()
    with pytest.raises(ValueError, match="failed"):
        _ = failed.return_value


def test_a_result_says_what_it_was_when_it_was_read_until_it_is_refreshed(backend: Backend):
    one, other = functions.give_back.enqueue(1), functions.give_back.enqueue(2)

    backend.run()
    before = one.status
    one.refresh()
    async_to_sync(other.arefresh)()

    assert (before, one.status, other.status) == (Status.READY, Status.SUCCESSFUL, Status.SUCCESSFUL)
    assert (one.return_value, other.return_value) == (1, 2)


def read_by_task(result_id: str) -> Any:
    return functions.give_back.get_result(result_id)


def read_by_task_asynchronously(result_id: str) -> Any:
    return async_to_sync(functions.give_back.aget_result)(result_id)


def read_by_backend(result_id: str) -> Any:
    return framework.default_task_backend.get_result(result_id)


def read_by_backend_asynchronously(result_id: str) -> Any:
    return async_to_sync(framework.task_backends["default"].aget_result)(result_id)


OF_TASK = [read_by_task, read_by_task_asynchronously]
OF_BACKEND = [read_by_backend, read_by_backend_asynchronously]


@pytest.mark.parametrize("read", [*OF_TASK, *OF_BACKEND])
def test_a_result_is_found_by_its_id(read: Any, backend: Backend):
    enqueued = functions.give_back.enqueue("value", other=1)
    backend.run()

    result = read(enqueued.id)

    assert (result.id, result.task.func) == (enqueued.id, functions.give_back.func)
    assert (result.args, result.kwargs) == (["value"], {"other": 1})
    assert result.return_value == {"value": "value", "other": 1}


@pytest.mark.parametrize("read", [*OF_TASK, *OF_BACKEND])
def test_an_id_that_does_not_exist_raises_task_result_does_not_exist(read: Any, backend: Backend):
    with pytest.raises(exceptions.TaskResultDoesNotExist):
        read("4711")


@pytest.mark.parametrize("read", OF_TASK)
def test_the_id_of_another_tasks_result_raises_task_result_mismatch(read: Any, backend: Backend):
    if not hasattr(exceptions, "TaskResultMismatch"):
        pytest.skip("The backport has one exception for both.")
    result = functions.note.enqueue(1)

    with pytest.raises(exceptions.TaskResultMismatch):
        read(result.id)


@pytest.mark.parametrize("read", OF_BACKEND)
def test_the_backend_finds_the_result_of_every_task(read: Any, backend: Backend):
    result = functions.note.enqueue(1)

    assert read(result.id).task.func == functions.note.func
