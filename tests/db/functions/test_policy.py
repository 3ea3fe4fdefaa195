"""What our backend adds to the framework: options, queues, checks, postponing, repeated runs."""

import datetime
import sys
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.exceptions import SynchronousOnlyOperation
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone

from django_partisan import registry
from django_partisan.backend import PartisanBackend, bulk_enqueue
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.config.queues import queue_config
from django_partisan.exceptions import UnknownQueue
from django_partisan.functions.framework import InvalidTask, TaskResultDoesNotExist, base, signals
from django_partisan.models import ManagerLease, Task
from django_partisan.sql.claiming import ATTEMPTS
from django_partisan.sql.manager_state import Run, manager_state, publish
from django_partisan.telemetry import swallowed
from django_partisan.testing import drain, run_pending
from tests.app import tasks
from tests.support.registry import empty_registry
from tests.support.rows import claimed, insert

pytestmark = pytest.mark.django_db

TASKS = {"default": {"BACKEND": "django_partisan.backend.PartisanBackend"}}
FRAMEWORK = "django.tasks" if find_spec("django.tasks") else "django_tasks"


def tomorrow() -> datetime.datetime:
    return timezone.now() + datetime.timedelta(days=1)


def test_a_queue_of_the_backend_needs_no_settings_and_may_have_some(settings: Any):
    settings.TASKS = {"default": {**TASKS["default"], "QUEUES": ["default", "mail"]}}

    result = tasks.add.using(queue_name="mail").enqueue(1)
    default = queue_config("mail").max_queue_size
    settings.PARTISAN_CONFIG = {"mail": {"MAX_QUEUE_SIZE": 77}}

    assert Task.objects.get(pk=int(result.id)).queue_name == "mail"
    assert (default, queue_config("mail").max_queue_size) == (10, 77)
    with pytest.raises(UnknownQueue, match="elsewhere"):
        queue_config("elsewhere")


def test_a_task_that_is_retried_has_the_errors_and_workers_of_all_its_runs():
    result = tasks.flaky_context.enqueue()

    run_pending()
    result.refresh()
    waiting = (result.status, result.attempts, len(result.errors), result.finished_at)
    first_start = result.started_at
    drain(now=tomorrow())
    result.refresh()

    assert waiting == (base.TaskResultStatus.READY, 1, 1, None)
    assert (result.status, result.attempts) == (base.TaskResultStatus.SUCCESSFUL, 3)
    assert [error.exception_class for error in result.errors] == [ConnectionError, ConnectionError]
    assert ["run 1" in result.errors[0].traceback, "run 2" in result.errors[1].traceback] == [True, True]
    assert len(result.worker_ids) == 3
    assert result.started_at == first_start < result.last_attempted_at <= result.finished_at
    assert result.return_value == [3, 3, ["builtins.ConnectionError"] * 2, 3]


def test_the_first_start_stays_that_of_the_first_run_when_equal_runs_become_one_entry():
    result = tasks.flaky.enqueue()

    run_pending()
    result.refresh()
    first_start = result.started_at
    drain(now=tomorrow(), raise_errors=False)
    result.refresh()

    history: Any = Task.objects.get(pk=int(result.id)).history
    [retried, _] = history
    assert retried["count"] == 2
    assert result.started_at == first_start < result.last_attempted_at


def test_a_task_whose_runs_all_failed_has_the_error_of_each():
    result = tasks.flaky.enqueue()

    drain(now=tomorrow(), raise_errors=False)
    result.refresh()

    assert [error.exception_class for error in result.errors] == [ConnectionError] * 3
    assert all("again" in error.traceback for error in result.errors)


def test_a_function_may_postpone_itself_and_every_run_counts():
    result = tasks.not_yet.enqueue()

    [ran] = run_pending()
    result.refresh()

    assert (ran.outcome, ran.delay_seconds) == ("postponed", 60)
    assert (result.status, result.attempts, result.errors) == (base.TaskResultStatus.READY, 1, [])


def test_a_backoff_that_returns_no_number_of_seconds_fails_the_task():
    result = tasks.wrong_backoff.enqueue()

    run_pending(raise_errors=False)

    message = Task.objects.get(pk=int(result.id)).error_message
    assert message == "backoff() returned 'soon'; expected a number of seconds, at least 0."


def test_a_retry_without_a_backoff_waits_five_seconds_and_then_twice_as_long():
    tasks.patient.enqueue()

    ran = drain(now=tomorrow(), raise_errors=False)

    assert [one.delay_seconds for one in ran] == [5, 10, None]


def test_a_rule_for_errors_says_which_lead_to_a_retry_how_often_and_when():
    tasks.ruled.enqueue()
    tasks.ruled.enqueue(allowed=False)

    ran = drain(now=tomorrow(), raise_errors=False)

    assert [(one.delay_seconds, one.reason) for one in ran] == [
        (5, None),
        (10, None),
        (None, "retries_exhausted"),
        (None, "error"),
    ]


def test_a_function_that_asks_is_retried_unless_it_may_run_only_once():
    result = tasks.asking.enqueue()
    tasks.asking_in_vain.enqueue()

    ran = drain(now=tomorrow(), raise_errors=False)

    assert sorted(one.delay_seconds for one in ran if one.delay_seconds) == [7, 10, 20]
    assert [one.reason for one in ran if one.reason] == ["retries_exhausted"] * 2
    result.refresh()
    assert [error.exception_class for error in result.errors] == [ConnectionError] * 4


def test_the_rule_of_a_queue_is_not_for_functions(settings: Any):
    settings.PARTISAN_CONFIG = {"default": {"DEFAULT_RETRY": ErrorsHandleConfig("*", 3, 5)}}
    tasks.fail.enqueue()

    [ran] = run_pending(raise_errors=False)

    assert ran.outcome == "failed"


def test_options_in_the_settings_are_refused(settings: Any):
    settings.TASKS = {"default": {**TASKS["default"], "OPTIONS": {"MAX_ATTEMPTS": 3}}}

    [found] = PartisanBackend("default", settings.TASKS["default"]).check()

    assert (found.id, "MAX_ATTEMPTS" in found.msg) == ("partisan.E011", True)
    assert found.is_serious()


def test_the_path_of_a_function_must_fit_into_the_table():
    def long() -> None: ...

    long.__qualname__ = long.__name__ = "l" * 300
    long.__module__ = tasks.__name__

    with pytest.raises(InvalidTask, match="expected at most 255"):
        tasks.task(long)


def test_an_atomic_function_that_is_retried_settles_with_its_result():
    result = tasks.together_later.enqueue()

    drain(now=tomorrow())
    result.refresh()

    assert (result.return_value, result.attempts) == ("done", 2)


def test_a_task_that_failed_without_a_run_has_its_error():
    result = tasks.add.enqueue(1)
    Task.objects.filter(pk=int(result.id)).update(
        status="error", ready=False, error_type="ValueError", error_traceback="no run"
    )

    result.refresh()

    [error] = result.errors
    assert (error.exception_class, error.traceback, result.attempts) == (ValueError, "no run", 0)


@pytest.mark.parametrize(
    ("path", "reason", "error"),
    [
        ("tests.app.lacking.run", "error", "No module named 'no_module_has_this_name'"),
        ("tests.app.no_such_module.run", "unregistered", "'tests.app.no_such_module.run'"),
        ("tests.app.tasks.no_such_function", "unregistered", "'tests.app.tasks.no_such_function'"),
        ("tests.app.tasks.TASK_COUNT", "unregistered", "'tests.app.tasks.TASK_COUNT'"),
    ],
)
def test_what_is_no_function_of_ours_does_not_run(path: str, reason: str, error: str):
    insert(processor=path)

    [ran] = run_pending(raise_errors=False)

    assert (ran.outcome, ran.reason) == ("failed", reason)
    assert ran.error is not None
    assert error in ran.error.message


def test_the_result_of_a_function_that_is_gone_does_not_exist():
    row = insert(processor="tests.app.tasks.no_such_function")

    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_backend().get_result(str(row.pk))


@pytest.mark.usefixtures("own_registry")
def test_the_module_of_an_unknown_path_is_imported(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(sys.modules, "tests.app.undiscovered", raising=False)
    row = insert(processor="tests.app.undiscovered.greet", arguments='{"args":["Ada"],"kwargs":{}}')

    [ran] = run_pending()

    assert (ran.task_id, ran.outcome) == (row.pk, "completed")
    assert Task.objects.get(pk=row.pk).result == "Hello, Ada"


def test_enqueue_in_a_coroutine_says_what_to_await():
    async def enqueue() -> None:
        tasks.add.enqueue(1)

    with pytest.raises(SynchronousOnlyOperation, match="aenqueue"):
        async_to_sync(enqueue)()


def test_a_result_of_a_run_lacks_what_no_result_has():
    seen: list[Any] = []

    def receive(task_result: Any, **_: Any) -> None:
        seen.append(getattr(task_result, "colour", "absent"))

    signals.task_started.connect(receive)
    try:
        tasks.add.enqueue(1)
        run_pending()
    finally:
        signals.task_started.disconnect(receive)

    assert seen == ["absent"]


def test_a_processors_task_has_no_result_of_the_framework():
    row = insert(processor="Letter")

    with pytest.raises(TaskResultDoesNotExist):
        tasks.add.get_backend().get_result(str(row.pk))


def test_many_calls_are_no_call_where_there_is_none():
    assert bulk_enqueue(tasks.add, []) == []


def test_a_function_is_enqueued_by_hand():
    name, out = "tests.app.tasks.add", StringIO()

    options = ["--kwargs", '{"other": 2}', "--expires", "1h"]
    call_command("partisan_enqueue", name, "--args", "[1]", *options, stdout=out)
    [ran] = run_pending()

    assert f": {name}, queue 'default', priority 10" in out.getvalue()
    assert (ran.processor, ran.args, ran.kwargs) == (name, [1], {"other": 2})


def test_an_unknown_function_is_refused_by_hand():
    with pytest.raises(CommandError, match=r"Did you mean tests\.app\.tasks\.add"):
        call_command("partisan_enqueue", "tests.app.tasks.ad")


def test_the_row_of_a_claimed_task_says_that_it_runs():
    [row] = claimed(processor="tests.app.tasks.add", arguments='{"args":[1],"kwargs":{}}')

    result = tasks.add.get_result(str(row[0]))

    assert (result.status, result.attempts) == (base.TaskResultStatus.RUNNING, row[ATTEMPTS] + 1)
    assert result.started_at == result.last_attempted_at is not None


def test_a_receiver_that_exits_changes_nothing_for_its_task(capsys: pytest.CaptureFixture[str]):
    def leave(**_: Any) -> None:
        raise SystemExit(3)

    before = swallowed.counts["signals"]
    result = tasks.add.enqueue(1)
    signals.task_finished.connect(leave)
    try:
        run_pending()
    finally:
        signals.task_finished.disconnect(leave)
    result.refresh()

    assert result.return_value == 2
    assert swallowed.counts["signals"] == before + 1


@pytest.mark.parametrize(("seconds", "is_of_this_claim"), [(0.0, True), (3600.0, False)])
def test_a_run_started_when_its_manager_says_so(seconds: float, is_of_this_claim: bool):
    [row] = claimed(processor="tests.app.tasks.add", arguments='{"args":[1],"kwargs":{}}')
    task = Task.objects.get(pk=row[0])
    assert task.claimed_by is not None
    run = Run(task.pk, task.processor_class, 1, 0, seconds)
    publish(connection, task.claimed_by, manager_state([run], {}, False))

    result = tasks.add.get_result(str(task.pk))

    state: Any = ManagerLease.objects.get(pk=task.claimed_by).state
    written_at = datetime.datetime.fromisoformat(state["at"])
    assert result.started_at == (written_at if is_of_this_claim else task.claimed_at)
    assert result.last_attempted_at == result.started_at


def test_a_task_that_is_gone_meanwhile_leaves_the_rest_of_its_result_unread():
    def delete(task_result: Any, **_: Any) -> None:
        Task.objects.filter(pk=int(task_result.id)).delete()
        task_result.read()
        seen.append(task_result.attempts)

    seen: list[int] = []
    signals.task_started.connect(delete)
    try:
        tasks.add.enqueue(1)
        run_pending()
    finally:
        signals.task_started.disconnect(delete)

    assert seen == [1]


def test_a_task_of_another_backend_that_is_enqueued_here_runs_here(
    settings: Any, monkeypatch: pytest.MonkeyPatch
):
    settings.TASKS = {**TASKS, "other": {"BACKEND": f"{FRAMEWORK}.backends.dummy.DummyBackend"}}
    monkeypatch.delitem(sys.modules, "tests.app.of_another_backend", raising=False)
    of_another_backend = import_module("tests.app.of_another_backend")

    result = of_another_backend.shout.using(backend="default").enqueue("hello")
    with empty_registry():  # as in a worker, which has only the path
        run_pending()
        definition = registry.find("tests.app.of_another_backend.shout")
    result.refresh()

    assert (result.return_value, result.backend, result.task.backend) == ("HELLO", "default", "default")
    assert definition is not None
    assert definition.retry is not None


@pytest.mark.usefixtures("own_registry")
def test_without_a_backend_of_ours_no_task_is_registered(settings: Any):
    settings.TASKS = {}

    assert registry.find_or_import("tests.app.tasks.add") is None
