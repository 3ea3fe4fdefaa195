"""A task's page shows everything relevant to the task, and nothing else."""

import re
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin import site
from django.db import connection
from django.test import Client, RequestFactory, override_settings
from django.utils import timezone

from django_partisan.admin import TaskAdmin
from django_partisan.admin.columns import UNREADABLE
from django_partisan.admin.task_page import BOXES, HIDDEN
from django_partisan.models import Task
from django_partisan.sql.connection import execute
from tests.support.admin import make_manager, make_task, page_of, text
from tests.support.schedules import UNREADABLE as UNREADABLE_JSON

pytestmark = pytest.mark.django_db


def test_a_tasks_page_shows_its_error_and_its_counters(browser):
    traceback = "Traceback (most recent call last):\n  boom"
    task = make_task(
        status=Task.STATUS_ERROR,
        attempts=4,
        error_reason="retries_exhausted",
        error_type="app.errors.Lost",
        error_message="<lost>",
        error_traceback=traceback,
    )

    page = text(browser, page_of(task))

    expected = ("retries_exhausted", "app.errors.Lost", "&lt;lost&gt;", traceback)
    assert [part for part in expected if part not in page] == []
    assert "<lost>" not in page


def test_a_tasks_page_shows_its_runs_as_a_table(browser):
    retried = {
        "outcome": "retried",
        "attempt": 4,
        "count": 3,
        "started_at": "2026-11-24T07:03:12.345678+00:00",
        "ended_at": "2026-11-24T07:03:13+00:00",
        "first_ended_at": "2026-11-24T06:00:00+00:00",
        "seconds": 0.25,
        "error_type": "app.Lost",
        "error_message": "<lost>",
        "traceback": "Traceback <here>",
        "worker": "web-1:17",
    }
    failed = {"outcome": "failed", "reason": "unregistered", "ended_at": "2026-11-25T00:00:00+00:00"}
    changed = {"outcome": "prioritized", "priority": 3, "comment": "the customer waits"}
    task = make_task(history=[retried, failed, changed], worker="web-1:17")

    with override_settings(TIME_ZONE="UTC"):
        page = text(browser, page_of(task))

    shown = re.sub(r"<wbr>|</?span[^>]*>", "", page)
    assert "<td>4</td><td>2026-11-24 07:03:12.345the last of 3 since 2026-11-24 06:00:00.000</td>" in shown
    assert "<td>250\xa0ms</td><td>retried</td><td><details><summary>app.Lost: &lt;lost&gt;</summary>" in shown
    assert "Traceback &lt;here&gt;" in page
    assert "<td></td><td>2026-11-25 00:00:00.000</td><td></td><td>failedunregistered</td><td></td>" in shown
    assert "<td>prioritizedpriority 3</td><td>the customer waits</td>" in shown


def test_arguments_are_hidden_unless_the_settings_show_them(browser):
    task = make_task(arguments={"args": ["a private matter"], "kwargs": {}})

    page = text(browser, page_of(task))

    assert "a private matter" not in page
    assert str(HIDDEN) in page


@override_settings(PARTISAN_OBSERVABILITY={"LOG_TASK_ARGS": True})
def test_shown_arguments_are_redacted_by_key(browser):
    task = make_task(arguments={"args": ["a public matter"], "kwargs": {"api_token": "open sesame"}})

    page = text(browser, page_of(task))

    assert "a public matter" in page
    assert "open sesame" not in page


TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_tasks_page_leads_to_its_manager_and_names_one_without_a_row(browser):
    manager, gone = make_manager(), uuid.uuid4()

    assert page_of(manager) in text(browser, page_of(make_task(claimed_by=manager.pk)))
    assert str(gone) in text(browser, page_of(make_task(claimed_by=gone)))


@override_settings(USE_TZ=False)
def test_moments_are_shown_without_time_zones_too(browser):
    assert "Due at" in text(browser, page_of(make_task()))


def test_moments_are_shown_to_the_millisecond(browser):
    due_at = datetime(2026, 11, 24, 7, 3, 12, 345678, tzinfo=timezone.get_default_timezone())

    assert "2026-11-24 07:03:12.345" in text(browser, page_of(make_task(execute_after=due_at)))


@pytest.mark.parametrize(
    ("context", "shown"),
    [
        (None, None),
        ({}, None),
        ([], None),
        ({"traceparent": "no trace"}, None),
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, TRACE),
    ],
)
def test_a_tasks_page_names_the_trace_of_its_enqueuer_if_there_is_one(browser, context, shown):
    page = text(browser, page_of(make_task(context=context)))

    assert ("Trace id" in page) is (shown is not None)
    assert shown is None or shown in page


def boxes(browser: Client, **values: Any) -> dict[str, list[str]]:
    """Return the fieldsets of a task's page with their fields."""
    page = browser.get(page_of(make_task(**values)))
    return {
        str(box.name): [name for line in box for name in line.fields] for box in page.context["adminform"]
    }


def test_boxes_and_fields_that_say_nothing_vanish(browser):
    waiting = boxes(browser)

    assert list(waiting) == ["None", "Moments", "Counters", "Claim"]
    assert waiting["Claim"] == ["is_ready"]
    assert waiting["Moments"] == ["enqueued_at", "due_at", "changed_at"]


@pytest.mark.parametrize("status", ["in_process", "finished", "error"])
def test_ready_is_said_of_waiting_tasks_only(browser, status):
    assert "Claim" not in boxes(browser, status=status)


def test_what_there_is_to_say_is_shown(browser):
    later = timezone.now() + timedelta(days=1)
    shown = boxes(
        browser, held="unregistered", unregistered_since=later, error_type="app.Lost", error_message="x",
        history=[{"outcome": "requeued"}], takeovers=1, timeout_seconds=2.5, unique_key=uuid.uuid4(),
        claim_token=0, expires_at=later,
    )  # fmt: skip

    assert shown["Failure"] == ["shown_type", "shown_message"]
    assert shown["History"] == ["shown_history"]
    assert shown["Held"] == ["held_because", "unknown_since"]
    assert "taken_over" in shown["Counters"]
    assert "expiry" in shown["Moments"]
    assert shown["More"] == ["time_limit", "key"]


def test_a_page_of_no_task_leads_back_with_a_message(browser):
    answer = browser.get(page_of(Task(pk=4711)), follow=True)

    assert answer.redirect_chain[-1][0] == "/admin/"


def test_without_a_task_every_field_is_listed(rf: RequestFactory):
    listed = TaskAdmin(Task, site).get_fieldsets(rf.get("/"))

    assert [title for title, _ in listed] == [title for title, _ in BOXES]


@pytest.mark.parametrize("column", ["arguments", "history", "context", "extra", "result"])
def test_a_page_opens_whatever_json_sql_has_written(browser, settings, column):
    settings.PARTISAN_OBSERVABILITY = {"LOG_TASK_ARGS": True}
    task = make_task(queue_name="mail")
    execute(connection, f"UPDATE django_partisan_task SET {column} = {UNREADABLE_JSON}")

    page = text(browser, page_of(task))

    assert "mail" in page
    assert (str(UNREADABLE) in page) is (column in ("arguments", "history", "context"))


@pytest.mark.parametrize("key", ["seconds", "count", "started_at", "reason", "worker", "outcome", "comment"])
@pytest.mark.parametrize("value", [None, 5, "long", [1], {}, "0001-01-01T00:00:00+23:59", 10**400])
def test_an_entry_of_the_history_with_any_value_is_shown(browser, key, value):
    entry = {"attempt": 3, "outcome": "failed", "first_ended_at": "noon", key: value}

    page = text(browser, page_of(make_task(history=[entry])))

    assert "<td>3</td>" in page


@pytest.mark.parametrize("stored", [{"a": 1}, ["x", None], "noon", 5])
def test_a_history_without_entries_is_an_empty_table(browser, stored):
    assert "<tbody></tbody>" in text(browser, page_of(make_task(history=stored)))
