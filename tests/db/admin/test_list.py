"""The list of tasks: filters, search, paging, columns."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_partisan import registry
from django_partisan.admin.paging import LISTED_MAX, SEARCHED_MAX, BoundedPaginator
from django_partisan.outcomes import FAILURE_REASONS, HELD_REASONS
from tests.support.admin import TASKS, listed, make_task, text
from tests.support.registry import Idle
from tests.support.rows import make_copies

pytestmark = pytest.mark.django_db


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
        ("?q=12&status__exact=error", {"pk": 12, "status": "error"}, {"pk": 13, "status": "error"}),
        ("?status__exact=error&queue=mail", {"status": "error", "queue_name": "mail"}, {"status": "error"}),
        (
            "?status__exact=error&processor=Letter&q=LET",
            {"status": "error"},
            {"status": "error", "processor_class": "Letters"},
        ),
        (
            "?status__exact=new&q=a%25b_c",
            {"ready": True, "processor_class": "A%B_C"},
            {"ready": True, "processor_class": "axbyc"},
        ),
        (
            "?status__exact=new&held=unregistered&queue=mail",
            {"held": "unregistered", "queue_name": "mail"},
            {"held": "unregistered"},
        ),
        (
            "?status__exact=error&argument=order:1",
            {"status": "error", "arguments": {"args": [], "kwargs": {"order": 1}}},
            {"arguments": {"args": [], "kwargs": {"order": 1}}},
        ),
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


def test_an_id_of_another_status_and_a_reason_of_a_waiting_task_are_not_found(browser):
    task = make_task(error_reason="error")

    assert listed(browser, f"?q={task.pk}&status__exact=error") == []
    assert listed(browser, "?reason=error&status__exact=new") == []
    assert listed(browser, "?reason=error") == []


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


@pytest.mark.parametrize(("count", "listed", "said"), [(10_001, 10_000, True), (1, 1, False)])
def test_the_list_says_where_the_paging_ends_if_it_does(browser, count, listed, said):
    make_copies(make_task(), count - 1)

    response = browser.get(TASKS)

    assert response.context["cl"].result_count == listed
    assert ("The latest 10,000 tasks can be paged through." in response.content.decode()) is said


def test_a_paginator_of_a_list_counts_and_pages_it():
    paginator = BoundedPaginator([1, 2, 3], 2)

    assert paginator.count == 3
    assert list(paginator.page(2)) == [3]


def row(browser: Client, **values: Any) -> dict[str, str]:
    """Return the cells of a task in the list, by column."""
    page = text(browser, f"{TASKS}?q={make_task(**values).pk}")
    cells = re.findall(r'<td class="field-(\w+)[^"]*">(.*?)</td>', page)
    return {name: plain(cell) for name, cell in cells}


def plain(cell: str) -> str:
    """Return the text of a cell."""
    return " ".join(re.sub(r"<[^>]+>", "", cell.replace('<span class="partisan-below">', " ")).split())


def test_a_failed_task_shows_its_reason_the_errors_first_line_its_last_run_and_its_worker(browser):
    ended = datetime(2026, 11, 24, 7, 3, 12, tzinfo=timezone.get_default_timezone())

    cells = row(
        browser, status="error", error_reason="retries_exhausted", attempts=4, error_type="app.errors.Lost",
        error_message="\n first line\nsecond", started_at=ended - timedelta(seconds=75), finished_at=ended,
        worker="web-1:17",
    )  # fmt: skip

    assert cells == {
        "processor_and_queue": "Letter default",
        "status_and_reason": "Error retries_exhausted, 4 attempts",
        "error": "first line Lost",
        "last_run": "1 min 15 s web-1:17",
        "when": "2026-11-24 07:03:12 failed",
    }


def test_a_long_message_is_cut_and_an_error_without_one_shows_its_class(browser):
    assert row(browser, error_type="app.Lost", error_message="x" * 300)["error"] == "x" * 99 + "… Lost"
    assert row(browser, error_type="app.Lost")["error"] == "Lost"


def test_the_last_run_is_that_of_the_history_if_it_has_one(browser):
    history = [{"outcome": "retried", "seconds": 7}, {"outcome": "retried", "seconds": 0.25}]

    assert row(browser, history=history, worker="web:1")["last_run"] == "250 ms web:1"
    assert row(browser, history=[{"outcome": "requeued"}], worker="web:1")["last_run"] == "web:1"


@pytest.mark.parametrize(
    "seconds", ["long", None, [1], "nan", 10**400, "1e400"], ids=lambda one: f"{one!s:.5}"
)
def test_a_duration_that_is_no_number_is_left_out(browser, seconds):
    assert row(browser, history=[{"seconds": seconds}], worker="web:1")["last_run"] == "web:1"


@pytest.mark.parametrize(
    ("status", "moments", "words"),
    [
        ("new", [], "due"),
        ("in_process", ["claimed_at"], "claimed"),
        ("finished", ["finished_at"], "finished"),
    ],
)
def test_a_moment_is_named(browser, status, moments, words):
    cells = row(browser, status=status, **dict.fromkeys(moments, timezone.now()))

    assert cells["when"].endswith(f" {words}")


def test_a_held_task_shows_why(browser):
    assert row(browser, held="unregistered")["status_and_reason"] == "New held: unregistered"


def test_waiting_tasks_of_each_kind_are_listed_as_new(browser):
    waiting = [make_task(ready=True), make_task(), make_task(held="unregistered")]
    make_task(status="finished")

    assert sorted(listed(browser, "?status__exact=new")) == [task.pk for task in waiting]


def test_what_no_index_finds_is_looked_for_among_the_latest_tasks(browser, own_registry):
    registry.register(type("Letter", (Idle,), {}))
    make_copies(make_task(status="finished", queue_name="mail"), SEARCHED_MAX)
    words = "Only the latest 50,000 tasks are searched."

    for query in ("?queue=mail", "?processor=Letter", "?status__exact=finished", "?q=let"):
        page = browser.get(TASKS + query)
        assert page.context["cl"].get_queryset(page.wsgi_request).count() == SEARCHED_MAX
        assert words in page.content.decode()

    assert words not in text(browser, f"{TASKS}?q=let&status__exact=new")


def failed_behind(number: int) -> Any:
    """Return a failed task of one processor, with ``number`` later failed tasks of another."""
    now = timezone.now()
    rare = make_task(processor_class="Rare", status="error", error_reason="timeout", finished_at=now)
    later = now + timedelta(seconds=1)
    make_copies(make_task(status="error", error_reason="error", finished_at=later), number)
    return rare


def waiting_behind(number: int) -> Any:
    make_copies(make_task(ready=True), number)
    return make_task(processor_class="Rare", ready=True)


PARTLY = "Of each queue, only the latest 50,000 failed tasks are searched"


@pytest.mark.parametrize(
    ("make", "query"),
    [
        (failed_behind, "?status__exact=error&processor=Rare"),
        (failed_behind, "?status__exact=error&q=rare"),
        (failed_behind, "?reason=timeout"),
        (waiting_behind, "?status__exact=new&processor=Rare"),
        (waiting_behind, "?status__exact=new&q=rare"),
    ],
)
def test_what_is_searched_for_with_a_status_is_found_behind_more_tasks_than_are_listed(
    browser, own_registry, make, query
):
    registry.register(type("Rare", (Idle,), {}))
    rare = make(LISTED_MAX)

    assert listed(browser, query) == [rare.pk]
    assert PARTLY not in text(browser, TASKS + query)


@pytest.mark.parametrize(
    ("make", "query"),
    [(failed_behind, "?reason=timeout"), (waiting_behind, "?status__exact=new&processor=Rare")],
)
def test_the_page_says_that_an_index_has_more_tasks_than_are_searched(browser, own_registry, make, query):
    registry.register(type("Rare", (Idle,), {}))
    make(SEARCHED_MAX)

    assert listed(browser, query) == []
    assert PARTLY in text(browser, TASKS + query)
    assert PARTLY not in text(browser, f"{TASKS}{query}&queue=elsewhere")
    assert PARTLY not in text(browser, f"{TASKS}?status__exact=new")
