"""Each partial index is used by exactly its statement, and the future costs the present nothing."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.metrics.queue_statistics import StatisticsQuery
from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql import leasing
from django_partisan.sql.backlog import waiting
from django_partisan.sql.claiming import claim, look_ahead
from django_partisan.sql.connection import execute, open_connection

pytestmark = pytest.mark.django_db

TABLE = "django_partisan_task"
PRIMARY_KEY = "django_partisan_task_pkey"
MANAGER = UUID(int=1)
SCHEDULED_AHEAD = 300_000

FILL = f"""
    INSERT INTO django_partisan_task
           (status, ready, queue_name, priority, execute_after, claimed_by, claim_token, finished_at,
            unique_key, created_at, updated_at, processor_class, arguments, extra)
    SELECT status, status = 'new' AND number % 2 = 0, CASE number % 5 WHEN 0 THEN 'default' ELSE 'mail' END,
           number % 20, now() + CASE WHEN number % 2 = 0 THEN -number ELSE number END * interval '1 second',
           CASE status WHEN 'in_process' THEN '{MANAGER}'::uuid END, 0,
           CASE WHEN status IN ('finished', 'error') THEN now() - number * interval '1 second' END,
           gen_random_uuid(), now(), now(), 'Letter', '{{"args": [], "kwargs": {{}}}}', '{{}}'
      FROM (SELECT number, CASE WHEN number <= 20000 THEN 'new' WHEN number <= 21000 THEN 'in_process'
                                WHEN number <= 26000 THEN 'error' ELSE 'finished' END AS status
              FROM generate_series(1, 50000) AS number) AS numbered
"""

SCHEDULE = """
    INSERT INTO django_partisan_task
           (status, ready, queue_name, priority, execute_after, created_at, updated_at, processor_class,
            arguments, extra)
    SELECT 'new', false, 'default', -2147483648, now() + interval '1 day' + number * interval '1 second',
           now(), now(), 'Letter', '{"args": [], "kwargs": {}}', '{}'
      FROM generate_series(1, %s) AS number
"""


class Plan:
    """A statement's plan: its nodes on the table of tasks, and the indexes it reads."""

    def __init__(self, tree: Any) -> None:
        self.indexes: set[str] = set()
        self.arbiters: set[str] = set()
        self.scans: list[str] = []
        self.blocks = 0
        self._walk(tree)

    def _walk(self, node: dict[str, Any]) -> None:
        if node.get("Relation Name") == TABLE and node["Node Type"].endswith("Scan"):
            self.scans.append(node["Node Type"])
            self.blocks += node.get("Shared Hit Blocks", 0) + node.get("Shared Read Blocks", 0)
        if "Index Name" in node:
            self.indexes.add(node["Index Name"])
        self.arbiters.update(node.get("Conflict Arbiter Indexes", ()))
        for inner in node.get("Plans", ()):
            self._walk(inner)


@contextmanager
def plans(of: BaseDatabaseWrapper = connection, analyze: bool = False) -> Iterator[list[Plan]]:
    """Explain every statement that is executed meanwhile; with ``analyze``, it is executed by that."""
    found: list[Plan] = []
    options = "ANALYZE, BUFFERS, FORMAT JSON" if analyze else "FORMAT JSON"

    def explain(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if sql.split()[0] in ("WITH", "SELECT", "INSERT", "UPDATE", "DELETE"):
            execute(f"EXPLAIN ({options}) {sql}", params, many, context)
            [answer] = context["cursor"].fetchone()
            found.append(Plan((json.loads(answer) if isinstance(answer, str) else answer)[0]["Plan"]))
        return execute(sql, params, many, context)

    with of.execute_wrapper(explain):
        yield found


def plan_of(act: Callable[[], Any]) -> Plan:
    """Return the plan of the one statement of ``act``."""
    with plans() as found:
        act()
    [plan] = found
    return plan


def analyze_table() -> None:
    execute(connection, f"ANALYZE {TABLE}")


@pytest.fixture(scope="module")
def table(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """50,000 tasks of every status in two queues, for the tests of this module."""
    with django_db_blocker.unblock():
        execute(connection, FILL)
        execute(connection, f"VACUUM ANALYZE {TABLE}")
        leasing.register(connection, MANAGER, "default", "here", 1, uuid4(), 30)
    yield
    with django_db_blocker.unblock():
        execute(connection, f"TRUNCATE {TABLE}, django_partisan_manager")
        execute(connection, f"ANALYZE {TABLE}")


class Letter(BaseTaskProcessor):
    pass


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("behind", [None, (5, 1000)], ids=["from the start", "behind a row"])
def test_a_claim_reads_the_index_of_ready_tasks(behind):
    plan = plan_of(lambda: claim(connection, "default", MANAGER, 100, behind))

    assert plan.indexes - {"django_partisan_manager_pkey"} == {"partisan_task_ready", PRIMARY_KEY}
    assert set(plan.scans) == {"Index Scan"}


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("act", "more"),
    [
        (lambda: look_ahead(connection, "default", 100), {PRIMARY_KEY}),
        (lambda: waiting(connection, "default"), set()),
    ],
    ids=["looking ahead", "counting what waits"],
)
def test_the_indexes_of_ready_and_of_scheduled_tasks_are_read(act, more):
    plan = plan_of(act)

    assert plan.indexes == {"partisan_task_scheduled", "partisan_task_ready", *more}
    assert "Seq Scan" not in plan.scans


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "act",
    [
        lambda: leasing.beat(connection, "default", uuid4()),
        lambda: leasing.adopt(connection, "default", uuid4(), [1, 2]),
        lambda: leasing.keep(connection, "default", uuid4(), uuid4()),
    ],
    ids=["beat", "adopt", "keep"],
)
def test_what_managers_hold_is_found_by_the_index_of_tasks_in_process(act):
    plan = plan_of(act)

    assert plan.indexes & {index.name for index in Task._meta.indexes} == {"partisan_task_in_process"}
    assert "Seq Scan" not in plan.scans


@pytest.mark.usefixtures("table")
def test_the_check_for_a_twin_uses_the_unique_index_of_waiting_tasks():
    plan = plan_of(lambda: Letter(1).delay())

    assert plan.arbiters == {"partisan_task_twin"}
    assert plan.scans == []


@pytest.mark.usefixtures("table")
def test_the_list_of_failed_tasks_reads_the_index_of_errors_the_latest_first():
    listed = Task.objects.failed().filter(queue_name="default").order_by("-finished_at")[:100]

    plan = plan_of(lambda: list(listed))

    assert plan.indexes == {"partisan_task_error"}
    assert plan.scans == ["Index Scan"]


@pytest.mark.usefixtures("table")
def test_the_depth_figures_read_partial_indexes_only():
    query = StatisticsQuery("default", 30)
    query._connection = own = open_connection("figures")
    try:
        with plans(own) as found:
            counted = query.read()
    finally:
        query.close()

    [*_, plan] = found
    assert (counted.in_process, counted.error) == (200, 1000)
    assert counted.due + counted.scheduled == 4000
    ours = {name for name in plan.indexes if name.startswith(("partisan", "django_partisan_task"))}
    assert ours == {
        "partisan_task_ready",
        "partisan_task_scheduled",
        "partisan_task_in_process",
        "partisan_task_error",
    }
    assert set(plan.scans) <= {"Index Scan", "Index Only Scan"}


def claim_measured() -> tuple[Plan, float]:
    """Claim 100 tasks a few times, each undone; return the last plan, and the median of the seconds."""
    seconds = []
    for _ in range(7):
        with transaction.atomic():
            started = time.perf_counter()
            claim(connection, "default", MANAGER, 100)
            seconds.append(time.perf_counter() - started)
            transaction.set_rollback(True)
    with transaction.atomic():
        with plans(analyze=True) as found:
            claim(connection, "default", MANAGER, 100)
        transaction.set_rollback(True)
    return found[0], median(seconds)


@pytest.mark.usefixtures("table")
def test_tasks_scheduled_ahead_at_the_highest_priority_leave_a_claims_plan_and_time_as_they_are():
    claim_measured()  # warm
    before, seconds_before = claim_measured()
    execute(connection, SCHEDULE, (SCHEDULED_AHEAD,))
    analyze_table()

    after, seconds_after = claim_measured()

    assert after.indexes == before.indexes
    assert after.scans == before.scans
    assert after.blocks <= before.blocks * 1.5 + 50
    assert seconds_after < seconds_before * 5 + 0.02
