"""Assertions for users' own tests: which tasks were enqueued, and which events were emitted."""

import os
from datetime import datetime, timedelta
from datetime import timezone as zone
from typing import Any

import pytest
from django.test import override_settings
from opentelemetry.sdk.environment_variables import OTEL_SDK_DISABLED

from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.exceptions import ProcessorClassNotFound, UnknownQueue
from django_partisan.metrics.custom import CounterMeasure, HistogramMeasure
from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor, bulk_delay
from django_partisan.telemetry import bus
from django_partisan.testing import (
    assert_enqueued,
    assert_not_enqueued,
    captured_events,
    captured_metrics,
    captured_spans,
    drain,
)
from tests.app import tasks
from tests.support.commands import python

pytestmark = pytest.mark.django_db

NOON = datetime(2040, 1, 1, 12, tzinfo=zone.utc)


class Letter(BaseTaskProcessor):
    RETRY_ON_ERROR_CONFIG = ErrorsHandleConfig([OSError], retries_count=1, retry_pause=30)
    MEASURES = [
        CounterMeasure("letters", "Letters sent.", labels=("to",)),
        HistogramMeasure("letter_pages", "Pages of letters.", buckets=(1, 10)),
    ]

    def run(self) -> None:
        self.metrics.inc("letters", to=self.args[0])
        self.metrics.observe("letter_pages", 3)
        if self.args[0] == "nowhere":
            raise KeyError("no such address")
        if self.args[0] == "abroad":
            raise ConnectionError("no net")


class Bill(BaseTaskProcessor):
    QUEUE_NAME = "mail"

    def run(self) -> None:
        pass


class Forgotten(BaseTaskProcessor):
    __module__ = "elsewhere"

    def run(self) -> None:
        pass


@pytest.fixture(autouse=True)
def a_second_queue(settings: Any) -> None:
    settings.PARTISAN_CONFIG = {"mail": {}}


def test_tasks_of_a_function_are_found_by_it_or_its_path():
    tasks.add.enqueue(1, other=2)
    found = assert_enqueued(tasks.add, args=[1], kwargs={"other": 2}, count=1)

    assert found == assert_enqueued("tests.app.tasks.add") == list(Task.objects.all())
    assert_not_enqueued(tasks.fail)
    with pytest.raises(AssertionError, match=r"1 task of tests\.app\.tasks\.fail; found 0"):
        assert_enqueued(tasks.fail)


def test_tasks_that_wait_are_found_by_what_is_asked_for():
    ada = Letter("ada", (1, 2), to="x").delay()
    bob = Letter("bob").delay(priority=3, execute_after=NOON)
    bill = Bill().delay()

    assert assert_enqueued() == [ada, bob, bill]
    assert assert_enqueued(Letter, count=2) == assert_enqueued("Letter") == [ada, bob]
    assert assert_enqueued(args=["ada", (1, 2)]) == assert_enqueued(kwargs={"to": "x"}) == [ada]
    assert assert_enqueued(priority=3) == assert_enqueued(at=NOON) == [bob]
    assert assert_enqueued(at=NOON.astimezone(zone(timedelta(hours=5)))) == [bob]
    assert assert_enqueued(Bill, args=[], kwargs={}, queue_name="mail", count=1) == [bill]
    assert assert_enqueued(Letter, args=["eve"], count=0) == []
    assert_not_enqueued(Letter, args=["eve"])


def test_a_failure_lists_what_waits_and_how_it_differs():
    Letter("ada", to="x").delay(priority=3, execute_after=NOON)
    Bill().delay()

    with pytest.raises(AssertionError) as caught:
        assert_enqueued(Letter, args=["bob"], kwargs={"to": "x"}, queue_name="mail", priority=3, at=NOON)

    first, second, third = str(caught.value).splitlines()
    assert first == (
        "Expected at least 1 task of Letter with args ['bob'], kwargs {'to': 'x'}, queue 'mail', priority 3, "
        "at 2040-01-01 06:00:00.000000 CST; found 0. 2 tasks wait:"
    )
    assert second == (
        "  Letter: args ['ada'], kwargs {'to': 'x'}, queue 'default', priority 3, "
        "at 2040-01-01 06:00:00.000000 CST (differs in args, queue)"
    )
    assert third.startswith("  Bill: args [], kwargs {}, queue 'mail', priority 10, at 20")
    assert third.endswith(" (differs in processor, args, kwargs, priority, at)")


def test_a_failure_says_how_many_were_expected_and_which_ran():
    bulk_delay(Letter(number) for number in range(22))
    with pytest.raises(
        AssertionError, match=r"Expected 1 task of Letter; found 22\. 22 tasks wait:"
    ) as caught:
        assert_enqueued(Letter, count=1)
    assert str(caught.value).endswith("\n  and 2 more")
    with pytest.raises(AssertionError, match=r"Expected 0 tasks; found 22\."):
        assert_not_enqueued()

    Task.objects.all().delete()
    Letter("ada").delay()
    drain()

    with pytest.raises(AssertionError) as caught:
        assert_enqueued(Letter)
    assert str(caught.value) == (
        "Expected at least 1 task of Letter; found 0. No task is waiting.\n"
        "Tasks of Letter that are no longer waiting: 1 finished."
    )
    with pytest.raises(AssertionError, match=r"Expected 2 tasks; .*\nTasks that are no longer waiting"):
        assert_enqueued(count=2)
    with pytest.raises(AssertionError, match=r"found 0\. No task is waiting\.$"):
        assert_enqueued(Bill)


def test_names_that_do_not_exist_are_refused():
    with pytest.raises(ProcessorClassNotFound, match="'Lettre'"):
        assert_not_enqueued("Lettre")
    with pytest.raises(ProcessorClassNotFound, match="Forgotten"):
        assert_not_enqueued(type("Forgotten2", (BaseTaskProcessor,), {"run": lambda self: None}))
    with pytest.raises(UnknownQueue, match="'male'"):
        assert_not_enqueued(queue_name="male")
    with pytest.raises(TypeError, match="is not a JSON value"):
        assert_not_enqueued(args=[object()])
    with pytest.raises(ValueError, match="has no time zone"):
        assert_not_enqueued(at=datetime(2040, 1, 1))  # noqa: DTZ001


@override_settings(USE_TZ=False)
def test_without_time_zones_naive_times_are_local():
    Letter("ada").delay(execute_after=datetime(2040, 1, 1))  # noqa: DTZ001

    assert_enqueued(at=datetime(2040, 1, 1))  # noqa: DTZ001
    with pytest.raises(AssertionError, match="at 2040-01-01 00:00:00"):
        assert_not_enqueued()


def test_events_are_captured_with_their_documented_names_and_fields(
    django_capture_on_commit_callbacks: Any,
):
    before = bus.subscribers()
    with captured_events() as events:
        with django_capture_on_commit_callbacks(execute=True):
            task = Letter("nowhere").delay()
        drain(raise_errors=False)

    assert events.names == ["task.enqueued", "task.started", "task.failed"]
    [failed] = events.named("task.failed")
    assert (failed.level, failed.fields["event.reason"]) == ("ERROR", "error")
    assert failed.fields["partisan.task.id"] == str(task.pk)
    assert f"Task {task.pk} (Letter) failed" in failed.message
    assert events.named("task.completed") == []
    with pytest.raises(ValueError, match=r"no log event 'task.fialed'; known: .*task\.failed"):
        events.named("task.fialed")
    assert bus.subscribers() == before
    drain()
    assert len(events) == 3


def test_spans_are_captured_with_their_documented_attributes_and_nothing_is_left():
    before = bus.subscribers()
    with captured_spans() as outer, captured_spans() as spans:
        Letter("abroad").delay()
        drain()

    assert spans.names == ["send default", "process default"]
    [process] = spans.named("process default")
    assert process.attributes is not None
    assert process.attributes["partisan.task.outcome"] == "retried"
    assert process.attributes["partisan.processor"] == "Letter"
    assert outer == spans
    assert bus.subscribers() == before
    Letter("ada").delay()
    assert len(spans) == 2


def test_spans_are_captured_in_the_place_of_those_of_the_project(no_subscribers: None):
    with captured_spans() as spans:
        Letter("ada").delay()

    assert spans.names == ["send default"]
    assert bus.subscribers() == ()


@pytest.mark.parametrize("disabled", ["true", None])
def test_spans_are_captured_where_the_environment_disables_the_sdk(disabled):
    code = """
import os
import django
django.setup()
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.scopes import Enqueueing
from django_partisan.testing import captured_spans
with captured_spans() as spans, bus.around(Enqueueing("default", "Letter")):
    pass
print(spans.names, os.environ.get("OTEL_SDK_DISABLED"))
"""
    env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    env.pop(OTEL_SDK_DISABLED, None)
    if disabled is not None:
        env[OTEL_SDK_DISABLED] = disabled

    done = python("-c", code, env=env)

    assert done.stdout == f"['send default'] {disabled}\n", done.stderr


def test_metrics_are_captured_by_name_and_labels(django_capture_on_commit_callbacks: Any):
    before = bus.subscribers()
    with captured_metrics() as metrics:
        with django_capture_on_commit_callbacks(execute=True):
            bulk_delay([Letter("ada"), Letter("bob"), Letter("nowhere"), Letter("abroad")])
        assert metrics.value("partisan_tasks_enqueued_total", processor="Letter", scheduled="false") == 4
        drain(raise_errors=False)

    assert metrics.value("partisan_tasks_completed_total", processor="Letter") == 2
    assert metrics.value("partisan_tasks_completed_total", processor="Bill") == 0
    assert metrics.value("partisan_tasks_failed_total", reason="error") == 1
    assert metrics.value("partisan_tasks_retried_total") == 1
    assert metrics.value("partisan_tasks_started_total") == 4
    assert metrics.value("partisan_task_duration_seconds_count") == 4
    assert metrics.value("partisan_task_duration_seconds_sum", outcome="completed") > 0
    assert metrics.value("partisan_user_letters_total") == 4
    assert metrics.value("partisan_user_letters_total", to="bob") == 1
    assert metrics.value("partisan_user_letter_pages_sum") == 12
    labels = {"queue": "default", "processor": "Letter", "to": "ada"}
    assert ("partisan_user_letters_total", labels, 1) in metrics.samples
    assert bus.subscribers() == before
    Letter("later").delay()
    drain()
    assert metrics.value("partisan_tasks_started_total") == 4


def test_metrics_and_labels_that_do_not_exist_are_refused():
    with (
        captured_metrics() as metrics,
        pytest.raises(ValueError, match="no counter or histogram 'partisan_x'"),
    ):
        metrics.value("partisan_x")
    with pytest.raises(ValueError, match="partisan_queue_held_tasks"):
        metrics.value("partisan_queue_held_tasks")
    with pytest.raises(
        ValueError,
        match="partisan_tasks_completed_total has no label prossecor; its labels: queue, processor",
    ):
        metrics.value("partisan_tasks_completed_total", prossecor="Letter")
