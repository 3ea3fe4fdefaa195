"""The admin shows tasks and managers, and changes nothing."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.db.models import Model
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_partisan import registry
from django_partisan.admin.paging import BoundedPaginator
from django_partisan.admin.tasks import HIDDEN
from django_partisan.models import ManagerLease, Task
from django_partisan.outcomes import FAILURE_REASONS, HELD_REASONS
from tests.support.registry import Idle

pytestmark = pytest.mark.django_db

TASKS = reverse("admin:django_partisan_task_changelist")
MANAGERS = reverse("admin:django_partisan_managerlease_changelist")


@pytest.fixture
def browser(admin_client: Client) -> Client:
    return admin_client


def make_task(**values: Any) -> Task:
    return Task.objects.create(
        **{"processor_class": "Letter", "arguments": {"args": [], "kwargs": {}}} | values
    )


def make_manager(**values: Any) -> ManagerLease:
    fixed = {
        "queue_name": "default",
        "host": "here",
        "pid": 17,
        "lock_name": uuid.uuid4(),
        "lease_seconds": 30,
    }
    return ManagerLease.objects.create(**fixed | values)


def page_of(row: Model) -> str:
    return reverse(f"admin:django_partisan_{row._meta.model_name}_change", args=[row.pk])


def listed(browser: Client, query: str = "", url: str = TASKS) -> list[Any]:
    response = browser.get(url + query)
    assert response.status_code == 200
    return [row.pk for row in response.context["cl"].result_list]


def text(browser: Client, url: str) -> str:
    response = browser.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_the_list_begins_with_the_latest_task(browser):
    first, second = make_task(), make_task()

    assert listed(browser) == [second.pk, first.pk]


@pytest.mark.parametrize(
    ("query", "wanted", "other"),
    [
        ("?status__exact=error", {"status": "error"}, {"status": "finished"}),
        ("?queue=mail", {"queue_name": "mail"}, {"queue_name": "default"}),
        ("?processor=Letter", {"processor_class": "Letter"}, {"processor_class": "Parcel"}),
        ("?held=unregistered", {"held": "unregistered"}, {"held": None}),
        (
            "?reason=worker_lost",
            {"status": "error", "error_reason": "worker_lost"},
            {"status": "error", "error_reason": "error"},
        ),
        ("?q=1234567", {"pk": 1234567}, {"pk": 123456}),
        ("?q=parcel", {"processor_class": "ParcelSender"}, {"processor_class": "LetterSender"}),
    ],
)
def test_the_list_can_be_filtered_and_searched_by_id_or_the_beginning_of_the_processors_name(
    browser, query, wanted, other, own_registry
):
    registry.register(type("Letter", (Idle,), {}))
    task = make_task(**wanted)
    make_task(**other)

    assert listed(browser, query) == [task.pk]


@override_settings(PARTISAN_CONFIG={"mail": {}})
def test_the_filters_offer_the_queues_of_the_settings_and_every_reason_of_failure(browser):
    make_task()

    page = text(browser, TASKS)

    assert "?queue=mail" in page
    assert "?queue=default" in page
    assert all(f"?reason={reason}" in page for reason in FAILURE_REASONS)
    assert all(f"?held={reason}" in page for reason in HELD_REASONS)


@pytest.mark.parametrize(("query", "count"), [("?q=+", 1), ("?q=99999999999999999999999", 0)])
def test_an_empty_search_lists_all_and_one_beyond_every_id_nothing(browser, query, count):
    make_task()

    assert len(listed(browser, query)) == count


def test_the_list_neither_counts_the_whole_table_nor_reads_what_is_large(browser):
    make_task()

    with CaptureQueriesContext(connection) as queries:
        listed(browser)

    asked = [query["sql"] for query in queries if "django_partisan_task" in query["sql"]]
    assert asked
    assert not [sql for sql in asked if "COUNT(*)" in sql and "LIMIT" not in sql]
    assert not [sql for sql in asked if "error_traceback" in sql or '"arguments"' in sql]


def make_copies(task: Task, number: int) -> None:
    columns = ", ".join(str(field.column) for field in Task._meta.fields if not field.primary_key)
    table = f"(SELECT {columns} FROM django_partisan_task WHERE id = %s) AS task"
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO django_partisan_task ({columns}) "
            f"SELECT {columns} FROM {table}, generate_series(1, %s)",
            (task.pk, number),
        )


@pytest.mark.parametrize(("count", "listed", "said"), [(10_001, 10_000, True), (1, 1, False)])
def test_the_list_says_where_the_paging_ends_if_it_does(browser, count, listed, said):
    make_copies(make_task(), count - 1)

    response = browser.get(TASKS)

    assert response.context["cl"].result_count == listed
    assert ("The latest 10000 tasks can be paged through." in response.content.decode()) is said


def test_a_paginator_of_a_list_counts_it():
    assert BoundedPaginator([1, 2, 3], 2).count == 3


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
    task = make_task(history=[retried, failed], worker="web-1:17")

    with override_settings(TIME_ZONE="UTC"):
        page = text(browser, page_of(task))

    assert "<td>4, the last of 3 since 2026-11-24 06:00:00.000</td><td>2026-11-24 07:03:12.345</td>" in page
    assert "<td>0.250</td><td>retried</td><td><details><summary>app.Lost: &lt;lost&gt;</summary>" in page
    assert "Traceback &lt;here&gt;" in page
    assert "<tr><td>-</td><td>2026-11-25 00:00:00.000</td><td>-</td><td>failed (unregistered)</td>" in page


def test_arguments_are_hidden_unless_the_settings_show_them(browser):
    task = make_task(arguments={"args": ["a private matter"], "kwargs": {}})

    page = text(browser, page_of(task))

    assert "a private matter" not in page
    assert HIDDEN in page


@override_settings(PARTISAN_OBSERVABILITY={"LOG_TASK_ARGS": True})
def test_shown_arguments_are_redacted_by_key(browser):
    task = make_task(arguments={"args": ["a public matter"], "kwargs": {"api_token": "open sesame"}})

    page = text(browser, page_of(task))

    assert "a public matter" in page
    assert "open sesame" not in page


TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("context", "shown"),
    [
        (None, "Trace id"),
        ({}, "Trace id"),
        ([], "Trace id"),
        ({"traceparent": "no trace"}, "Trace id"),
        ({"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}, TRACE),
    ],
)
def test_a_tasks_page_names_the_trace_of_its_enqueuer_if_there_is_one(browser, context, shown):
    assert shown in text(browser, page_of(make_task(context=context)))


def test_a_tasks_page_leads_to_its_manager_and_names_one_without_a_row(browser):
    manager, gone = make_manager(), uuid.uuid4()

    assert page_of(manager) in text(browser, page_of(make_task(claimed_by=manager.pk)))
    assert str(gone) in text(browser, page_of(make_task(claimed_by=gone)))


def test_a_manager_is_alive_until_its_lease_runs_out(browser):
    alive = make_manager(host="alive")
    dead = make_manager(host="dead", heartbeat_at=timezone.now() - timedelta(seconds=31))

    rows = browser.get(MANAGERS).context["cl"]
    states = {row.pk: rows.model_admin.is_alive(row) for row in rows.result_list}

    assert states == {alive.pk: True, dead.pk: False}


@pytest.mark.parametrize(
    ("state", "role"),
    [(None, "manager"), (["worker"], "manager"), ({"role": "worker"}, "worker without its manager")],
)
def test_a_worker_without_its_manager_is_not_listed_as_a_manager(state, role, browser):
    row = make_manager(state=state)

    assert f'field-role">{role}<' in text(browser, MANAGERS)
    assert f'readonly">{role}<' in text(browser, page_of(row))


def test_a_manager_leads_to_the_tasks_it_holds(browser):
    manager = make_manager()
    held = make_task(status=Task.STATUS_IN_PROCESS, claimed_by=manager.pk)
    make_task(status=Task.STATUS_FINISHED, claimed_by=manager.pk)
    query = f"?status__exact=in_process&claimed_by__exact={manager.pk}"

    page = text(browser, page_of(manager))

    assert f'{TASKS}{query.replace("&", "&amp;")}">1</a>' in page
    assert listed(browser, query) == [held.pk]


@override_settings(USE_TZ=False)
def test_moments_are_shown_without_time_zones_too(browser):
    assert "Due at" in text(browser, page_of(make_task()))


def test_moments_are_shown_to_the_millisecond(browser):
    due_at = datetime(2026, 11, 24, 7, 3, 12, 345678, tzinfo=timezone.get_default_timezone())

    assert "2026-11-24 07:03:12.345" in text(browser, page_of(make_task(execute_after=due_at)))


@pytest.mark.parametrize("make", [make_task, make_manager])
def test_nobody_can_add_change_or_delete(browser, make):
    row = make()
    page, add = page_of(row), reverse(f"admin:django_partisan_{row._meta.model_name}_add")

    answers = [browser.post(url, {}).status_code for url in (add, page, page.replace("/change/", "/delete/"))]

    assert answers == [403, 403, 403]
    assert type(row).objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize(("permissions", "status"), [(["view_task"], 200), ([], 403)])
def test_users_need_the_view_permission_and_no_other(client, permissions, status):
    user = User.objects.create_user("viewer", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)

    assert client.get(TASKS).status_code == status
