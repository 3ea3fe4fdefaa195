"""With ``PARTISAN_IMMEDIATE``, ``delay()`` runs the task after the commit, in the caller's process."""

import logging
import os
from datetime import timedelta
from typing import Any

import pytest
import structlog
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Group
from django.db import connection, transaction
from django.test import TestCase, override_settings
from django.utils import timezone, translation

from django_partisan import signals
from django_partisan.config.immediate import RAISE
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.exceptions import PostponeTask, WrongSetting
from django_partisan.models import ManagerLease, Task
from django_partisan.processor import BaseTaskProcessor, bulk_delay
from django_partisan.telemetry.events.runs import TaskCompleted, TaskFailed, TransactionLeftOpen
from django_partisan.telemetry.events.tasks import TaskEnqueued
from django_partisan.testing import captured_spans, drain
from tests.support.commands import python

RUNS: list[Any] = []
HOUR = timedelta(hours=1)


class Noted(BaseTaskProcessor):
    """Record each run, then do what the first argument says."""

    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([OSError], retries_count=2, retry_pause=30)

    def run(self) -> None:
        RUNS.append(self.args[0])
        getattr(self, str(self.args[0]), str)()
        RUNS.append("end")

    def enqueue_three(self) -> None:
        for number in range(3):
            Noted(number).delay()

    def enqueue_in_a_transaction(self) -> None:
        with transaction.atomic():
            Noted("enqueued").delay()

    def postpone(self) -> None:
        raise PostponeTask(60)

    def lose_the_net(self) -> None:
        raise ConnectionError("no net")

    def fail(self) -> None:
        raise KeyError("broken")

    def break_the_transaction(self) -> None:
        Group.objects.create(name="written before")
        with connection.cursor() as cursor:
            cursor.execute("SELECT no_such_column")

    def write_and_fail(self) -> None:
        Group.objects.create(name="written")
        raise KeyError("broken")

    def exit(self) -> None:
        raise SystemExit(3)

    def press_control_c(self) -> None:
        raise KeyboardInterrupt

    def look_around(self) -> None:
        task = self.task
        RUNS.append((task.attempt, translation.get_language(), structlog.contextvars.get_contextvars()))

    def leave_a_transaction_open(self) -> None:
        transaction.atomic().__enter__()
        Group.objects.create(name="never committed")


class Atomic(Noted):
    ATOMIC = True


class AgainAtOnce(Noted):
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([OSError], retries_count=2, retry_pause=0)


class Asynchronous(BaseTaskProcessor):
    async def run(self) -> None:
        RUNS.append(await Group.objects.acount())
        if self.args:
            await Asynchronous().adelay()
        RUNS.append("end")


class ToMail(Noted):
    QUEUE_NAME = "mail"


@pytest.fixture(autouse=True)
def immediate_mode(settings: Any) -> None:
    RUNS.clear()
    settings.PARTISAN_IMMEDIATE = True
    settings.PARTISAN_CONFIG = {"mail": {"DELETE_TASKS_ON_COMPLETE": True}}


@pytest.fixture
def raising(settings: Any) -> None:
    settings.PARTISAN_IMMEDIATE = RAISE


def statuses() -> list[str]:
    return list(Task.objects.order_by("pk").values_list("status", flat=True))


def assert_healthy() -> None:
    """Check that the caller's connection is as before, and that no manager is left in the tables."""
    assert connection.get_autocommit()
    assert not connection.in_atomic_block
    assert Group.objects.count() >= 0
    assert not ManagerLease.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_delay_runs_the_task_before_it_returns_and_its_row_is_that_of_a_finished_task():
    task = Noted("nothing", (1, 2), to="Ada").delay()

    assert RUNS == ["nothing", "end"]
    assert (task.status, task.is_duplicate) == ("new", False), "the row as it was enqueued"
    task.refresh_from_db()
    assert (task.status, task.attempts) == ("finished", 1)
    assert task.worker
    assert_healthy()


@pytest.mark.django_db(transaction=True)
def test_in_a_transaction_it_runs_after_the_commit_and_never_after_a_rollback():
    with transaction.atomic():
        Noted(1).delay()
        Noted(2).delay()
        assert RUNS == []
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        Noted(3).delay()
        1 / 0  # noqa: B018

    assert RUNS == [1, "end", 2, "end"]
    assert_healthy()


@pytest.mark.django_db(transaction=True)
def test_without_the_setting_nothing_runs(settings):
    settings.PARTISAN_IMMEDIATE = False

    Noted(1).delay()

    assert RUNS == []
    assert statuses() == ["new"]


@pytest.mark.django_db(transaction=True)
def test_every_way_to_enqueue_runs_tasks():
    bulk_delay([Noted(1), Noted(2), Noted(1)])
    with transaction.atomic():
        Noted(3).delay_on_commit()
    async_to_sync(Noted(4).adelay)()

    assert RUNS == [1, "end", 2, "end", 3, "end", 4, "end"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("action", ["enqueue_three", "enqueue_in_a_transaction"])
def test_what_a_task_enqueues_runs_after_it_and_not_inside_it(action):
    Noted(action).delay()

    enqueued = [0, 1, 2] if action == "enqueue_three" else ["enqueued"]
    assert [action, "end", *(entry for one in enqueued for entry in (one, "end"))] == RUNS


@pytest.mark.django_db(transaction=True)
def test_a_long_chain_of_tasks_does_not_recurse():
    class Chained(BaseTaskProcessor):
        def run(self) -> None:
            RUNS.append(len(__import__("inspect").stack(0)))
            if self.args[0]:
                Chained(self.args[0] - 1).delay()

    from django_partisan import registry

    registry.register(Chained)
    Chained(30).delay()

    assert len(RUNS) == 31
    assert len(set(RUNS)) == 1, "the stack is as deep in each run"


@pytest.mark.django_db(transaction=True)
def test_an_asynchronous_task_runs_and_may_enqueue():
    Asynchronous("enqueue").delay()
    async_to_sync(Asynchronous("enqueue").adelay)()

    assert RUNS == [0, "end"] * 4


@pytest.mark.django_db(transaction=True)
def test_an_error_is_not_raised_but_logged_and_stored_as_by_a_worker(caplog, recorded_events):
    task = Noted("fail").delay()
    Noted(2).delay()

    task.refresh_from_db()
    assert (task.status, task.error_reason, task.error_message) == ("error", "error", "'broken'")
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.exc_info
    assert [one.run.id for one in recorded_events.of(TaskFailed)] == [task.pk]
    assert RUNS == ["fail", 2, "end"]
    assert_healthy()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("raising")
def test_if_asked_for_the_first_error_is_raised_when_every_task_has_run():
    with pytest.raises(KeyError, match="broken"), transaction.atomic():
        bulk_delay([Noted("fail"), Noted("exit"), Noted(3)])

    assert statuses() == ["error", "error", "finished"]
    with pytest.raises(SystemExit):
        Noted("exit").delay()
    Noted("lose_the_net").delay()  # its error is on the retry list
    assert_healthy()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("processor", [Noted, Atomic])
@pytest.mark.parametrize("action", ["break_the_transaction", "write_and_fail", "nothing"])
def test_a_task_that_breaks_a_transaction_leaves_the_connection_of_the_caller_healthy(processor, action):
    with transaction.atomic():
        Group.objects.create(name="of the caller")
        processor(action).delay()

    written = {"break_the_transaction": ["written before"], "write_and_fail": ["written"]}.get(action, [])
    kept = [] if processor is Atomic else written
    assert list(Group.objects.order_by("pk").values_list("name", flat=True)) == ["of the caller", *kept]
    assert_healthy()


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_a_task_leaves_open_is_rolled_back(recorded_events):
    with transaction.atomic():
        Noted("leave_a_transaction_open").delay()

    assert statuses() == ["finished"]
    assert [event.database for event in recorded_events.of(TransactionLeftOpen)] == ["default"]
    assert_healthy()


@pytest.mark.django_db(transaction=True)
def test_control_c_in_a_task_ends_the_caller_too_and_the_task_has_failed():
    with pytest.raises(KeyboardInterrupt):
        bulk_delay([Noted("press_control_c"), Noted(2)])

    assert statuses() == ["error", "new"]
    Noted(3).delay()
    assert RUNS == ["press_control_c", 3, "end"], "what was not begun waits"
    assert_healthy()


@pytest.mark.django_db(transaction=True)
def test_scheduled_postponed_and_retried_tasks_wait_for_their_time():
    Noted("later").delay(execute_after=timezone.now() + HOUR)
    Noted("postpone").delay()
    Noted("lose_the_net").delay()

    assert RUNS == ["postpone", "lose_the_net"]
    assert statuses() == ["new"] * 3
    retried = Task.objects.get(retries=1)
    assert 20 < (retried.execute_after - timezone.now()).total_seconds() <= 30
    drain(now=timezone.now() + 24 * HOUR, raise_errors=False)
    assert "later" in RUNS


@pytest.mark.django_db(transaction=True)
def test_a_retry_without_a_pause_runs_at_once_up_to_its_limit():
    AgainAtOnce("lose_the_net").delay()

    assert RUNS == ["lose_the_net"] * 3
    assert Task.objects.get().error_reason == "retries_exhausted"


@pytest.mark.django_db(transaction=True)
def test_a_duplicate_is_returned_as_always_and_one_that_is_due_runs(settings):
    settings.PARTISAN_IMMEDIATE = False
    waiting = Noted("x").delay()
    scheduled = Noted("y").delay(execute_after=timezone.now() + HOUR)
    settings.PARTISAN_IMMEDIATE = True

    duplicates = [Noted("x").delay(), Noted("y").delay()]

    assert [(one.pk, one.is_duplicate) for one in duplicates] == [(waiting.pk, True), (scheduled.pk, True)]
    assert RUNS == ["x", "end"]


@pytest.mark.django_db(transaction=True)
def test_a_task_runs_with_the_settings_of_its_queue():
    ToMail("x").delay()
    Noted("y").delay(queue_name="mail")

    assert RUNS == ["x", "end", "y", "end"]
    assert not Task.objects.exists(), "completed tasks of this queue are deleted"


@pytest.mark.django_db(transaction=True)
def test_events_come_in_the_order_of_a_workers_and_receivers_of_signals_are_called(recorded_events):
    finished: list[Any] = []

    def receive(**values: Any) -> None:
        finished.append(values["task"].processor)

    signals.task_finished.connect(receive)
    try:
        with transaction.atomic():
            Noted(1).delay()
            Noted(2).delay()
    finally:
        signals.task_finished.disconnect(receive)

    kinds = [type(event) for event in recorded_events.events if type(event) in (TaskEnqueued, TaskCompleted)]
    assert kinds == [TaskEnqueued, TaskCompleted] * 2
    assert finished == ["Noted", "Noted"]


@pytest.mark.django_db(transaction=True)
def test_a_run_sees_nothing_of_the_context_of_the_caller_but_what_a_task_carries():
    structlog.contextvars.bind_contextvars(request_id="r-1", secret_of_the_request="s")
    with translation.override("fr"):
        Noted("look_around").delay()

    _, around, _ = RUNS
    assert around == (1, "en-us", {"request_id": "r-1"})


@pytest.mark.django_db(transaction=True)
def test_the_span_of_a_run_is_linked_to_that_of_delay_as_in_a_worker():
    with captured_spans() as spans:
        Noted(1).delay()

    send, process = spans
    assert (send.name, process.name, process.parent) == ("send default", "process default", None)
    assert [link.context.span_id for link in process.links] == [send.context.span_id]


@pytest.mark.django_db(transaction=True)
def test_where_the_caller_ends_transactions_by_hand_tasks_wait():
    transaction.set_autocommit(False)
    try:
        Noted(1).delay()
        transaction.commit()
    finally:
        transaction.set_autocommit(True)

    assert RUNS == []
    assert statuses() == ["new"]


@pytest.mark.django_db(transaction=True)
def test_a_value_that_is_not_accepted_is_refused_by_delay():
    with (
        override_settings(PARTISAN_IMMEDIATE="False"),
        pytest.raises(WrongSetting, match="PARTISAN_IMMEDIATE is 'False'; expected True, False or 'raise'"),
    ):
        Noted(1).delay()


class InATestCase(TestCase):
    def test_tasks_run_when_the_callbacks_of_the_commit_are_captured(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            Noted("enqueue_three").delay()
            Noted("break_the_transaction").delay()
            Noted("leave_a_transaction_open").delay()
            assert RUNS == []

        assert RUNS.count("end") == 5
        assert statuses().count("error") == 1
        assert not Group.objects.exists()


def test_a_process_that_only_enqueues_does_not_import_the_engine():
    code = """
import sys
import django
django.setup()
from django_partisan import immediate, processor
assert not [name for name in sys.modules if name.startswith("django_partisan.engine")]
"""

    done = python("-c", code, env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"})

    assert done.returncode == 0, done.stderr
