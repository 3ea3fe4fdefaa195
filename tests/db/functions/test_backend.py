"""Functions of Django's task framework are enqueued, run, and read back through their results."""

import datetime
from typing import Any

import pytest
from django.core.exceptions import SynchronousOnlyOperation
from django.db import connection, transaction
from django.utils import timezone

from django_partisan.backend import PartisanBackend, bulk_enqueue
from django_partisan.functions.framework import InvalidTask, TaskResultDoesNotExist, base, signals
from django_partisan.models import Task
from django_partisan.testing import drain, run_pending
from tests.app import tasks

pytestmark = pytest.mark.django_db

Status = base.TaskResultStatus


def test_a_function_is_enqueued_under_its_path_and_its_result_read_back():
    result = tasks.add.enqueue(1, other=2)

    assert (result.status, result.args, result.kwargs) == (Status.READY, [1], {"other": 2})
    row = Task.objects.get(pk=int(result.id))
    assert (row.processor_class, row.queue_name, row.priority) == ("tests.app.tasks.add", "default", 10)

    run_pending()
    result.refresh()

    assert (result.status, result.return_value, result.attempts) == (Status.SUCCESSFUL, 3, 1)
    assert result.finished_at is not None
    assert result.started_at == result.last_attempted_at
    assert len(result.worker_ids) == 1
    assert tasks.add.get_result(result.id).return_value == 3


def test_a_context_counts_attempts_from_one_and_a_coroutine_is_awaited():
    results = [tasks.attempt.enqueue(), tasks.later.enqueue({"a": [1, None]})]

    run_pending()

    for result in results:
        result.refresh()
    assert [result.return_value for result in results] == [1, {"a": [1, None]}]


def test_a_failed_function_has_its_error_and_no_return_value():
    result = tasks.fail.enqueue()

    run_pending(raise_errors=False)
    result.refresh()

    assert (result.status, result.attempts) == (Status.FAILED, 1)
    [error] = result.errors
    assert error.exception_class is ValueError
    assert "no luck" in error.traceback
    with pytest.raises(ValueError, match="Task failed"):
        _ = result.return_value


@pytest.mark.parametrize(
    ("what", "reason", "place"),
    [
        ("set", "result_not_json", "the result is {1} of type set"),
        ("nan", "result_not_json", "the result[1] is nan"),
        ("large", "result_too_large", "returned 2,097,154 bytes"),
    ],
)
def test_a_value_that_cannot_be_stored_fails_the_task_and_names_its_place(what: str, reason: str, place: str):
    result = tasks.give.enqueue(what)

    run_pending(raise_errors=False)

    row = Task.objects.get(pk=int(result.id))
    assert (row.status, row.error_reason) == ("error", reason)
    assert row.error_message is not None
    assert place in row.error_message


def test_a_function_is_retried_after_the_pause_of_its_backoff_until_its_attempts_are_used_up():
    result = tasks.flaky.enqueue()
    now = timezone.now()

    drain(now=now + datetime.timedelta(hours=1), raise_errors=False)
    result.refresh()

    assert (result.status, result.attempts) == (Status.FAILED, 3)
    row = Task.objects.get(pk=int(result.id))
    assert row.error_reason == "retries_exhausted"


def test_an_atomic_function_settles_with_its_result():
    result = tasks.together.enqueue(7)

    run_pending()
    result.refresh()

    assert result.return_value == 7


def test_only_a_function_with_the_option_has_duplicates():
    assert tasks.once.enqueue(1).id == tasks.once.enqueue(1).id
    assert tasks.add.enqueue(1).id != tasks.add.enqueue(1).id


def test_using_changes_queue_priority_and_time(settings: Any):
    settings.PARTISAN_CONFIG = {"mail": {}}
    moment = timezone.now() + datetime.timedelta(hours=1)
    task = tasks.add.using(priority=50, run_after=moment)

    result = task.enqueue(1)

    row = Task.objects.get(pk=int(result.id))
    assert (row.priority, row.execute_after) == (-40, moment)
    read = tasks.add.get_result(result.id)
    assert (read.task.priority, read.task.run_after) == (50, moment)


def test_a_task_of_a_transaction_that_is_rolled_back_does_not_exist():
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        result = tasks.add.enqueue(1)
        raise ZeroDivisionError

    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result(result.id)


@pytest.mark.parametrize("result_id", ["0", "no number", "4711"])
def test_an_unknown_id_is_no_result(result_id: str):
    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_result(result_id)


def test_many_calls_are_enqueued_at_once_with_a_result_each():
    results = bulk_enqueue(tasks.add, [((1,), {}), ((2,), {"other": 5})])

    run_pending()
    for result in results:
        result.refresh()

    assert [result.return_value for result in results] == [2, 7]


def test_results_of_very_many_calls_are_read_in_parts():
    parameters = []

    def count(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        parameters.append(len(params or ()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        results = bulk_enqueue(tasks.add, [((number,), {}) for number in range(10_001)])

    assert [result.args for result in results] == [[number] for number in range(10_001)]
    assert max(parameters) == 10_000


def test_the_frameworks_signals_are_sent():
    seen: list[tuple[str, Any, str]] = []

    def note(sender: type, task_result: Any, signal: Any, **_: Any) -> None:
        assert sender is PartisanBackend
        seen.append((task_result.id, task_result.status, str(task_result.task.name)))
        assert task_result.enqueued_at is not None

    named = (signals.task_enqueued, signals.task_started, signals.task_finished)
    for signal in named:
        signal.connect(note)
    try:
        good, bad = tasks.add.enqueue(1), tasks.fail.enqueue()
        run_pending(raise_errors=False)
    finally:
        for signal in named:
            signal.disconnect(note)

    assert [state for task_id, state, _ in seen if task_id == good.id] == ["READY", "RUNNING", "SUCCESSFUL"]
    assert [state for task_id, state, _ in seen if task_id == bad.id] == ["READY", "RUNNING", "FAILED"]


def test_a_wrong_queue_and_a_wrong_priority_are_refused():
    with pytest.raises(InvalidTask, match="nowhere"):
        tasks.add.using(queue_name="nowhere")
    with pytest.raises(InvalidTask, match="priority"):
        tasks.add.using(priority=101)


def test_run_after_is_the_time_of_the_call_until_another_one_is_set():
    moment = timezone.now() + datetime.timedelta(hours=1)
    result = tasks.fail.using(run_after=moment).enqueue()

    drain(now=moment, raise_errors=False)
    failed = tasks.fail.get_result(result.id)
    Task.objects.get(pk=int(result.id)).requeue()
    requeued = tasks.fail.get_result(result.id)

    assert (failed.task.run_after, requeued.task.run_after) == (moment, None)
    assert requeued.status == Status.READY


def test_the_result_of_a_finished_atomic_run_names_the_worker_of_each_run_once():
    seen: list[Any] = []

    def receive(task_result: Any, **_: Any) -> None:
        seen.append((task_result.attempts, len(task_result.worker_ids), len(task_result.errors)))

    signals.task_finished.connect(receive)
    try:
        tasks.together_later.enqueue()
        drain(now=timezone.now() + datetime.timedelta(days=1))
    finally:
        signals.task_finished.disconnect(receive)

    assert seen == [(2, 2, 1)]


@pytest.mark.django_db(transaction=True)
def test_in_immediate_mode_task_enqueued_is_sent_before_the_task_runs(settings: Any):
    settings.PARTISAN_IMMEDIATE = True
    sent: list[str] = []
    receivers = {}
    for name in ("task_enqueued", "task_started", "task_finished"):
        receivers[name] = lambda name=name, **_: sent.append(name)
        getattr(signals, name).connect(receivers[name])
    try:
        tasks.add.enqueue(1)
        bulk_enqueue(tasks.add, [((2,), {})])
    finally:
        for name, receiver in receivers.items():
            getattr(signals, name).disconnect(receiver)

    assert sent == ["task_enqueued", "task_started", "task_finished"] * 2


def test_an_error_of_a_receiver_is_not_taken_for_one_of_the_call():
    def refuse(**_: Any) -> None:
        raise SynchronousOnlyOperation("of the receiver")

    signals.task_enqueued.connect(refuse)
    try:
        with pytest.raises(SynchronousOnlyOperation, match="of the receiver"):
            tasks.add.enqueue(1)
    finally:
        signals.task_enqueued.disconnect(refuse)


def test_receivers_get_what_the_run_returned_once_it_has_ended():
    seen: list[Any] = []

    def receive(task_result: Any, **_: Any) -> None:
        seen.append((task_result._return_value, task_result.finished_at is not None))

    for signal in (signals.task_started, signals.task_finished):
        signal.connect(receive)
    try:
        tasks.add.enqueue(1, other=2)
        tasks.fail.enqueue()
        run_pending(raise_errors=False)
    finally:
        for signal in (signals.task_started, signals.task_finished):
            signal.disconnect(receive)

    assert seen == [(None, False), (3, True), (None, False), (None, True)]
