"""The pages read few rows of a large table, according to PostgreSQL's execution plans."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_partisan import registry
from django_partisan.admin.paging import LISTED_MAX
from django_partisan.models import Task
from tests.support.admin import TASKS, make_task, page_of
from tests.support.registry import Idle
from tests.support.rows import make_copies
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db

ROWS = 40_000
FEW = 100
"""The number of failed tasks, the oldest, and of waiting tasks, the latest; all others are finished."""
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
        cursor.execute("REINDEX TABLE django_partisan_task")  # rolled-back tests bloat it
        cursor.execute("ANALYZE django_partisan_task")


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def scans(browser: Client, url: str) -> Iterator[dict[str, Any]]:
    """Yield the plan nodes of a page's statements that read the task table or one of its indexes."""
    with CaptureQueriesContext(connection) as queries:
        assert browser.get(url).status_code == 200
    for query in queries:
        if "django_partisan_task" in query["sql"] and query["sql"].startswith("SELECT"):
            with connection.cursor() as cursor:
                cursor.execute("EXPLAIN (ANALYZE, FORMAT JSON) " + query["sql"].replace("%", "%%"), ())
                found = cursor.fetchone()[0]
            [plan] = json.loads(found) if isinstance(found, str) else found
            for node in nodes(plan["Plan"]):
                if node.get("Relation Name") == "django_partisan_task":
                    yield node


def rows_of(scan: dict[str, Any]) -> float:
    """Return how many rows a node reads, including those that it discards."""
    discarded = scan.get("Rows Removed by Filter", 0) + scan.get("Rows Removed by Index Recheck", 0)
    return float((scan["Actual Rows"] + discarded) * scan["Actual Loops"])


def rows_read(browser: Client, url: str) -> int:
    """Return how many task rows the statements of a page read."""
    return int(sum(map(rows_of, scans(browser, url))))


def rows_visited(browser: Client, url: str) -> int:
    """Return how many task rows a page reads from the table itself, not only from an index."""
    visited = 0.0
    for scan in scans(browser, url):
        is_of_index = scan["Node Type"] == "Index Only Scan"
        visited += scan["Heap Fetches"] if is_of_index else rows_of(scan)
    return int(visited)


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


@pytest.fixture
def many_failed(transactional_db: None) -> None:
    """More failed tasks than are listed, in two queues; some with another reason and processor."""
    now, common = timezone.now(), {"status": "error", "processor_class": "Letter", "error_reason": "error"}
    rare = {**common, "processor_class": "Rare", "error_reason": "timeout"}
    with connection.cursor() as cursor, transaction.atomic():
        cursor.execute("SET LOCAL synchronous_commit = on")  # otherwise vacuum may not see it on disk yet
        for queue in ("default", "mail"):
            make_copies(make_task(queue_name=queue, finished_at=now, **rare), 30)
            make_copies(make_task(queue_name=queue, finished_at=now, **common), LISTED_MAX)
    wait_until(vacuumed, what=what_keeps_it)


def what_keeps_it() -> str:
    """Return how many pages are all-visible, and the sessions whose snapshots may prevent others from it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT relallvisible, relpages FROM pg_class WHERE relname = 'django_partisan_task'")
        pages = cursor.fetchone()
        cursor.execute(
            "SELECT datname, backend_type, state, query FROM pg_stat_activity WHERE backend_xmin IS NOT NULL"
        )
        return f"every page is all-visible; they are {pages}, with the snapshots of {cursor.fetchall()}"


def vacuumed() -> bool:
    """Vacuum the table; a concurrent ANALYZE of another table prevents pages from becoming all-visible."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE django_partisan_task")
        cursor.execute("SELECT relallvisible = relpages FROM pg_class WHERE relname = 'django_partisan_task'")
        return bool(cursor.fetchone()[0])


@pytest.mark.usefixtures("many_failed", "own_registry")
@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("?status__exact=error", LISTED_MAX),
        ("?status__exact=error&p=150", LISTED_MAX),
        ("?status__exact=error&o=1", LISTED_MAX),
        ("?reason=error", LISTED_MAX),
        ("?reason=timeout", 62),
        ("?reason=timeout&status__exact=error&queue=mail", 31),
        ("?status__exact=error&processor=Rare", 62),
        ("?status__exact=error&q=rare", 62),
    ],
)
def test_a_list_of_failed_tasks_visits_the_rows_that_it_shows(query, count, client: Client):
    registry.register(type("Rare", (Idle,), {}))
    client.force_login(User.objects.create_superuser("boss"))

    response = client.get(TASKS + query)

    assert response.context["cl"].result_count == count
    assert rows_visited(client, TASKS + query) <= 2 * len(response.context["cl"].result_list)


@pytest.mark.usefixtures("many_failed")
def test_a_full_list_reads_the_index_no_further(client: Client):
    client.force_login(User.objects.create_superuser("boss"))

    assert rows_read(client, f"{TASKS}?reason=error&queue=mail") <= 2 * LISTED_MAX + 200


@pytest.mark.usefixtures("many_failed")
def test_a_search_for_an_argument_among_failed_tasks_reads_what_one_among_all_reads(client: Client):
    client.force_login(User.objects.create_superuser("boss"))

    of_all = rows_read(client, f"{TASKS}?argument=order:5")

    assert rows_read(client, f"{TASKS}?argument=order:5&status__exact=error") <= of_all
    assert rows_read(client, f"{TASKS}?q=order%3D5&reason=error") <= of_all


@pytest.mark.usefixtures("large_table")
def test_a_tasks_page_reads_its_row_only_for_each_statement(browser):
    task = Task.objects.order_by("pk")[ROWS // 2]

    assert rows_read(browser, page_of(task)) <= 20
    assert rows_read(browser, f"{TASKS}?q={task.pk}") <= 10


def test_the_measure_counts_what_is_discarded(browser):
    make_task()

    assert rows_read(browser, f"{TASKS}?priority__exact=77") >= 1
