"""The pages read few rows of a large table: plans, as PostgreSQL executes them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from django_partisan.admin.paging import LISTED_MAX
from django_partisan.models import Task
from tests.support.admin import TASKS, make_task, page_of

pytestmark = pytest.mark.django_db

ROWS = 40_000
FEW = 100
"""So many of the oldest failed, and so many of the latest wait; all others are finished."""
STEPS = ("Filter", "Index Recheck")
_INSERT = """
    INSERT INTO django_partisan_task (status, queue_name, processor_class, arguments, extra, created_at,
                                      updated_at, priority, execute_after, ready, finished_at)
    SELECT status, 'default', 'Letter', '{"args": [], "kwargs": {}}', '{}', now(), now(), 10, now(),
           status = 'new', CASE WHEN status <> 'new' THEN now() END
      FROM (SELECT number, CASE WHEN number <= %s THEN 'error' WHEN number > %s THEN 'new' ELSE 'finished' END
                   AS status FROM generate_series(1, %s) AS number) AS task ORDER BY number
"""


@pytest.fixture
def large_table(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, (FEW, ROWS - FEW, ROWS))
        cursor.execute("ANALYZE django_partisan_task")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def rows_read(browser: Client, url: str) -> int:
    """Return how many rows of tasks the statements of a page read, those that they discard included."""
    with CaptureQueriesContext(connection) as queries:
        assert browser.get(url).status_code == 200
    read = 0
    for query in queries:
        if "django_partisan_task" in query["sql"] and query["sql"].startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + query["sql"].replace("%", "%%"), ())
                found = cursor.fetchone()[0]
            [plan] = json.loads(found) if isinstance(found, str) else found
            for node in nodes(plan["Plan"]):
                if node.get("Relation Name") == "django_partisan_task":
                    discarded = node.get("Rows Removed by Filter", 0) + node.get(
                        "Rows Removed by Index Recheck", 0
                    )
                    read += (node["Actual Rows"] + discarded) * node["Actual Loops"]
    return int(read)


@pytest.mark.usefixtures("large_table")
def test_the_list_reads_one_page_and_counts_to_the_limit(browser):
    assert rows_read(browser, TASKS) <= LISTED_MAX + 60


@pytest.mark.usefixtures("large_table")
@pytest.mark.parametrize(
    "query",
    [
        "?status__exact=error",
        "?reason=error",
        "?status__exact=new",
        "?status__exact=in_process",
        "?held=unregistered",
    ],
)
def test_a_filter_with_an_index_reads_what_it_selects(browser, query):
    assert rows_read(browser, TASKS + query) <= 8 * FEW


@pytest.mark.usefixtures("large_table")
def test_a_tasks_page_reads_its_row_only_for_each_statement(browser):
    task = Task.objects.order_by("pk")[ROWS // 2]

    assert rows_read(browser, page_of(task)) <= 20
    assert rows_read(browser, f"{TASKS}?q={task.pk}") <= 10


def test_the_measure_counts_what_is_discarded(browser):
    make_task()

    assert rows_read(browser, f"{TASKS}?priority__exact=77") >= 1
