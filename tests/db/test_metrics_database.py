"""The statistics of a queue from a real PostgreSQL, and what happens when it does not answer."""

import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import OperationalError
from django.test import override_settings
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from django_partisan.metrics.exporter import Exporter
from django_partisan.models import ManagerLease, Task
from django_partisan.sql.connection import open_connection
from django_partisan.sql.queue_statistics import StatisticsQuery
from django_partisan.sql.statistics_statement import Limits
from tests.support.rows import make_copies
from tests.support.telemetry import started_snapshot

pytestmark = pytest.mark.django_db(transaction=True)

QUEUE = "default"


@pytest.fixture
def query() -> Iterator[StatisticsQuery]:
    made = StatisticsQuery(QUEUE, timeout=5)
    yield made
    made.close()


@contextmanager
def reading(limits: Limits) -> Iterator[StatisticsQuery]:
    made = StatisticsQuery(QUEUE, 5, limits)
    yield made
    made.close()


@contextmanager
def another_connection(role: str = "test") -> Iterator[BaseDatabaseWrapper]:
    other = open_connection(role)
    yield other
    other.close()


def insert(
    count: int, status: str = Task.STATUS_NEW, due_in: float = -60, processor: str = "Mail", **values: Any
) -> None:
    due = timezone.now() + timedelta(seconds=due_in)
    first = Task.objects.create(status=status, processor_class=processor, execute_after=due, **values)
    make_copies(first, count - 1)


def test_an_empty_table_has_statistics_of_zero(query: StatisticsQuery) -> None:
    found = query.read()

    assert (found.due, found.scheduled, found.in_process, found.error) == (0, 0, 0, 0)
    assert found.oldest_due_age == 0
    assert found.oldest_due_processor is None
    assert (found.managers_alive, found.served_elsewhere) == (0, ())
    assert found.table_bytes > 0


def test_tasks_are_counted_by_state_and_of_the_queue_alone(query: StatisticsQuery) -> None:
    insert(3, ready=True)
    insert(2, ready=False)  # due, but not promoted yet
    insert(4, due_in=3600)
    insert(5, status=Task.STATUS_IN_PROCESS)
    insert(6, status=Task.STATUS_ERROR)
    insert(1, status=Task.STATUS_ERROR, error_reason="error")
    insert(8, status=Task.STATUS_ERROR, error_reason="cancelled")
    insert(9, status=Task.STATUS_ERROR, error_reason="expired")
    insert(7, status=Task.STATUS_FINISHED)
    for status in (Task.STATUS_NEW, Task.STATUS_IN_PROCESS, Task.STATUS_ERROR):
        insert(10, status=status, queue_name="other", ready=status == Task.STATUS_NEW)
    found = query.read()

    assert (found.due, found.scheduled, found.in_process, found.error) == (5, 4, 5, 7)


def test_what_is_set_aside_is_counted_by_processor_and_reason_and_is_not_late() -> None:
    insert(1, ready=True)
    insert(2, queue_name="other", held="unregistered")
    for name, reason, number in (
        ("Mail", "unregistered", 3),
        ("Bill", "unregistered", 5),
        ("Bill", "paused", 1),
        ("Zero", "unregistered", 1),
    ):
        insert(number, processor=name, held=reason)

    with reading(Limits(front=4, kinds=3)) as query:
        found = query.read()

    assert (found.due, found.scheduled) == (1, 0)
    assert found.held == (
        ("Bill", "paused", 1),
        ("Bill", "unregistered", 4),
        ("Mail", "unregistered", 3),
    )


@pytest.mark.parametrize("ready", [True, False])
def test_the_age_is_that_of_the_oldest_due_task(query: StatisticsQuery, ready: bool) -> None:
    insert(1, due_in=-100, ready=True)
    insert(1, due_in=-500, ready=ready, processor="Late")
    insert(1, due_in=-1000, status=Task.STATUS_FINISHED)

    found = query.read()

    assert 500 <= found.oldest_due_age < 600
    assert found.oldest_due_processor == "Late"


def test_an_age_is_never_below_zero(query: StatisticsQuery) -> None:
    insert(1, due_in=100, ready=True)

    assert query.read().oldest_due_age == 0


def test_more_than_are_counted_are_estimated_by_the_planner() -> None:
    insert(500, ready=True)
    insert(300, due_in=3600)
    insert(200, status=Task.STATUS_ERROR)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE django_partisan_task")
    with reading(Limits(counted=100)) as query:
        found = query.read()

    assert (found.due, found.scheduled, found.error) == (500, 300, 200)
    assert found.in_process == 0


def test_an_estimate_is_the_queue_s_share_of_the_index() -> None:
    insert(600, ready=True)
    insert(300, ready=True, queue_name="other")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE django_partisan_task")
    with reading(Limits(counted=100)) as query:
        assert query.read().due == pytest.approx(600, abs=2)


def test_without_statistics_it_is_one_more_than_are_counted() -> None:
    insert(50, ready=True)
    with reading(Limits(counted=10)) as query:
        assert query.read().due == 11


def insert_ended(number: int, first: int, every: int, **values: Any) -> None:
    """Insert failed or cancelled tasks that ended ``first`` seconds ago and at intervals before that."""
    now = timezone.now()
    Task.objects.bulk_create(
        Task(
            status="error",
            processor_class="Mail",
            finished_at=now - timedelta(seconds=first + every * place),
            **values,
        )
        for place in range(number)
    )


@pytest.mark.parametrize(("failed", "cancelled"), [(1000, 0), (0, 1000)], ids=["before", "after"])
def test_failures_count_however_many_tasks_were_cancelled_before_or_after(
    failed: int, cancelled: int
) -> None:
    insert_ended(5, failed, 1, error_reason="error")
    insert_ended(50, cancelled, 1, error_reason="cancelled")

    with reading(Limits(counted=10)) as query:
        assert query.read().error == 5


def test_of_more_failed_tasks_than_are_counted_those_that_were_cancelled_are_estimated_too() -> None:
    insert_ended(300, 0, 3, error_reason="error")
    insert_ended(300, 1, 3, error_reason="cancelled")
    insert_ended(300, 2, 3, error_reason="expired")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE django_partisan_task")

    with reading(Limits(counted=100)) as query:
        assert query.read().error == pytest.approx(300, abs=10)


def test_of_many_due_tasks_the_oldest_of_each_priority_is_seen() -> None:
    insert(20, ready=True, priority=1)
    insert(20, ready=True, priority=5)
    insert(1, due_in=-900, ready=True, priority=9, processor="Starving")
    insert(20, ready=True, priority=9)
    with reading(Limits(front=5, lane_rows=2)) as query:
        found = query.read()

    assert 900 <= found.oldest_due_age < 1000
    assert found.oldest_due_processor == "Starving"


def test_managers_are_alive_until_their_lease_expires_and_workers_without_one_are_none(
    query: StatisticsQuery,
) -> None:
    now = timezone.now()
    worker = {"role": "worker"}
    for queue, age, state in (
        (QUEUE, 5, None),
        (QUEUE, 20, None),
        (QUEUE, 40, None),
        (QUEUE, 5, worker),
        ("other", 5, None),
    ):
        ManagerLease.objects.create(
            queue_name=queue,
            host="host",
            pid=1,
            lock_name=uuid.uuid4(),
            lease_seconds=30,
            heartbeat_at=now - timedelta(seconds=age),
            state=state,
        )

    found = query.read()

    assert found.managers_alive == 2
    assert found.served_elsewhere == (("other", 1),)


def test_due_tasks_of_queues_that_no_live_manager_serves_are_counted_by_queue() -> None:
    for queue, lease in (("served", 30), ("expired", 0.001), ("worker", 30)):
        ManagerLease.objects.create(
            queue_name=queue,
            host="host",
            pid=1,
            lock_name=uuid.uuid4(),
            lease_seconds=lease,
            heartbeat_at=timezone.now() - timedelta(seconds=5),
            state={"role": "worker"} if queue == "worker" else None,
        )
    for queue in ("served", "expired", "worker", "given up", QUEUE):
        insert(2, ready=True, queue_name=queue)
        insert(1, ready=False, queue_name=queue)  # due, but no manager promotes it
        insert(1, due_in=3600, queue_name=queue)
        insert(1, queue_name=queue, held="paused")
        insert(1, status=Task.STATUS_FINISHED, queue_name=queue)
    insert(1, due_in=3600, queue_name="not due")
    insert(1, ready=False, queue_name="never promoted")

    with reading(Limits()) as query:
        found = query.read()
    with reading(Limits(unserved=1, queues=2)) as query:
        limited = query.read()

    assert dict(found.unserved) == {
        "default": 3,
        "expired": 3,
        "given up": 3,
        "never promoted": 1,
        "worker": 3,
    }
    assert set(dict(limited.unserved).values()) <= {1, 2}
    assert len(limited.unserved) <= 4


@pytest.mark.parametrize("mode", ["on", "off"])
def test_a_server_that_refuses_writes_is_not_writable(query: StatisticsQuery, mode: str) -> None:
    query.read()
    assert query._connection is not None
    with query._connection.cursor() as cursor:
        cursor.execute(f"SET default_transaction_read_only = {mode}")

    assert query.read().is_writable == (mode == "off")


def flush_statistics() -> None:
    """Make PostgreSQL count at once what this connection has done."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("ANALYZE django_partisan_task")


def test_the_table_s_own_statistics_are_those_of_postgresql(query: StatisticsQuery) -> None:
    flush_statistics()  # also counts what earlier tests did over this connection
    before = query.read()
    insert(50)
    flush_statistics()
    after = query.read()

    assert after.inserts - before.inserts == 50
    assert after.live_rows == 50
    assert after.table_bytes > before.table_bytes


def test_the_oldest_transaction_is_another_s(query: StatisticsQuery) -> None:
    without = query.read()
    with another_connection() as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT pg_sleep(0.3)")
        held = query.read()
        cursor.execute("ROLLBACK")

    assert without.oldest_transaction_age == 0
    assert 0.3 <= held.oldest_transaction_age < 10


def test_clocks_of_one_host_do_not_differ(query: StatisticsQuery) -> None:
    assert abs(query.read().clock_skew) < 1


def test_a_clock_that_is_behind_the_database_s_is_a_positive_skew(
    query: StatisticsQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 100)

    assert query.read().clock_skew == pytest.approx(100, abs=1)


def test_the_version_is_the_server_s(query: StatisticsQuery) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        assert query.read().server_version == cursor.fetchone()[0]


def test_the_connection_is_named_and_kept(query: StatisticsQuery) -> None:
    query.read()
    query.read()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*), min(state) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'django_partisan figures default'"
        )
        assert cursor.fetchone() == (1, "idle")


def test_a_connection_that_was_cut_is_made_again(query: StatisticsQuery) -> None:
    query.read()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND application_name = 'django_partisan figures default'"
        )
    with pytest.raises(OperationalError):
        query.read()

    assert query.read().due == 0


def test_a_query_ends_with_its_timeout() -> None:
    slow = StatisticsQuery(QUEUE, timeout=0.2)
    with another_connection() as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE django_partisan_task IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(OperationalError, match="statement timeout"):
            slow.read()
        cursor.execute("ROLLBACK")
    slow.close()


# Through the exporter.


@pytest.fixture
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    state = started_snapshot(QUEUE)
    with override_settings(PARTISAN_OBSERVABILITY=getattr(request, "param", {})):
        exporter = Exporter(QUEUE, lambda: state, "127.0.0.1", 0)
    yield exporter.start() or ""
    exporter.stop()


def scrape(address: str) -> dict[tuple[str, ...], float]:
    return values_in(get(address))


def values_in(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def get(address: str) -> str:
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as response:
        assert response.status == 200
        text: str = response.read().decode()
        return text


def test_a_scrape_shows_the_database_s_statistics(address: str) -> None:
    insert(3, ready=True)
    found = scrape(address)

    assert found["partisan_queue_tasks", QUEUE, "due"] == 3
    assert found["partisan_db_up", QUEUE] == 1
    assert found["partisan_db_writable", QUEUE] == 1
    assert found["partisan_unserved_due_tasks", QUEUE] == 3
    assert found["partisan_queue_oldest_due_age_seconds", QUEUE] >= 60
    assert found["partisan_db_data_age_seconds", QUEUE] < 5


@pytest.mark.parametrize("address", [{"METRICS_DB_TIMEOUT": 1}], indirect=True)  # leaves time to spare
def test_a_locked_table_costs_three_seconds_at_most_and_the_statistics_alone(address: str) -> None:
    with another_connection() as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("LOCK TABLE django_partisan_task IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        text = get(address)
        took = time.monotonic() - began
        cursor.execute("ROLLBACK")

    found = values_in(text)
    assert took < 3
    assert found["partisan_db_up", QUEUE] == 0
    assert found["partisan_workers_configured", QUEUE] == 0
    assert ("partisan_queue_tasks", QUEUE, "due") not in found


def test_a_column_that_is_missing_leaves_the_database_up_and_its_figures_out(address: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE django_partisan_task RENAME COLUMN held TO gone")
    try:
        found = scrape(address)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE django_partisan_task RENAME COLUMN gone TO held")

    assert found["partisan_db_up", QUEUE] == 1
    assert ("partisan_queue_tasks", QUEUE, "due") not in found
    assert ("partisan_db_data_age_seconds", QUEUE) not in found


def test_a_database_that_is_down_costs_three_seconds_at_most_and_the_statistics_alone(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connections.settings["default"], "HOST", "127.0.0.1")
    monkeypatch.setitem(connections.settings["default"], "PORT", "1")

    began = time.monotonic()
    text = get(address)
    took = time.monotonic() - began

    found = values_in(text)
    assert took < 3
    assert found["partisan_db_up", QUEUE] == 0
    assert found["partisan_buffer_limit", QUEUE] == 10
