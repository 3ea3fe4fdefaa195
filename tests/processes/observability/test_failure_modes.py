"""The failure modes of telemetry that need a whole manager (`docs/observability.md` lists them all)."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator

import pytest
from django.db import connection, transaction

from django_partisan.metrics import catalogue
from django_partisan.models import Task
from tests.processes.observability.cutting import Wire
from tests.processes.observability.lines import checked
from tests.processes.observability.scraping import (
    Answer,
    Scrape,
    address_of,
    get,
    scrape,
    scrape_until,
    wait_for_scrape,
)
from tests.processes.observability.watching import Watching, enqueue, wait_until_done
from tests.support.database import this_database
from tests.support.rows import count_by_status
from tests.support.waiting import wait_until
from tools.otlp_sink import OtlpSink

SHIFT_SECONDS = 3600
OF_DATABASE = {name for name, metric in catalogue.METRICS.items() if metric.sources == ("D",)}
KEPT = {"partisan_db_up", "partisan_db_scrape_duration_seconds", "partisan_db_data_age_seconds"}


def test_recycling_after_every_task_loses_neither_spans_nor_counts(watching: Watching, sink: OtlpSink):
    manager = watching.ready(TASKS_PER_WORKER_INSTANCE=1, variables={"OTEL_EXPORTER_OTLP_ENDPOINT": sink.url})
    tasks = enqueue("Leaf", times=10)
    wait_until_done()
    spans = sink.wait_for(10, "process")
    seen = scrape_until(manager, "partisan_worker_exits_total", 10, reason="recycled")

    assert Counter(span.attributes["messaging.message.id"] for span in spans) == Counter(map(str, tasks))
    assert len({span.resource["process.pid"] for span in spans}) == 10
    assert seen.sum("partisan_tasks_started_total") == seen.sum("partisan_tasks_completed_total") == 10


@pytest.mark.parametrize("looks_away", [False, True], ids=["manager reads", "manager sees the exit as well"])
def test_a_torn_message_closes_that_pipe_alone_and_is_counted(watching: Watching, looks_away: bool):
    manager = watching.ready()
    [gated] = enqueue("Wait", "gate")
    [begun] = watching.bench.wait_for("begun")
    enqueue("TearMessage", "tear")
    [tearing] = watching.bench.wait_for("tearing")
    if looks_away:
        manager.send(signal.SIGSTOP)
    watching.bench.open("tear")
    if looks_away:
        wait_until(lambda: tearing["pid"] not in [process.pid for process in manager.process_tree()])
        manager.send(signal.SIGCONT)
    [exited] = manager.wait_for("worker.exited")
    watching.bench.open("gate")
    wait_until_done()
    seen = scrape_until(manager, "partisan_tasks_completed_total", 2)
    manager.stop()

    assert exited["partisan.worker.pid"] == tearing["pid"] != begun["pid"]
    assert len(manager.logged("task.rescued")) == 1
    assert seen.by("reason", "partisan_telemetry_dropped_total") == {"pipe_broken": 1}
    assert [line["event.reason"] for line in manager.logged("telemetry.dropped")] == ["pipe_broken"]
    assert seen.by("reason", "partisan_worker_exits_total") == {"signal": 1}
    assert seen.by("reason", "partisan_tasks_rescued_total") == {"worker_lost": 1}
    assert [line["id"] for line in watching.bench.journal("begun")] == [gated]


def test_nothing_is_lost_while_the_manager_is_stopped_for_ten_seconds(watching: Watching):
    manager = watching.ready(WORKERS_COUNT=2)
    enqueue("Pass", times=100, seconds=0.01)
    watching.bench.wait_for("ended", 5)
    manager.send(signal.SIGSTOP)
    begun = watching.bench.wait_for("begun")
    wait_until(lambda: threading.Event().wait(10) or True)
    kept_on = len(watching.bench.journal("ended"))
    manager.send(signal.SIGCONT)
    wait_until_done()
    seen = scrape_until(manager, "partisan_tasks_completed_total", 100)

    assert kept_on >= 5
    assert begun
    assert len(watching.bench.journal("ended")) == 100
    assert seen.sum("partisan_tasks_started_total") == 100
    assert seen.sum("partisan_tasks_rescued_total") == seen.sum("partisan_tasks_claim_lost_total") == 0


def assert_scrape_without_database(answer: Answer) -> None:
    assert (answer.status, answer.seconds < 3) == (200, True)
    seen = Scrape(answer.body)
    assert seen.sum("partisan_db_up") == 0
    declared = {name.removesuffix("_total").removesuffix("_info") for name in catalogue.METRICS}
    assert declared <= seen.families.keys()
    assert seen.sum("partisan_tasks_completed_total") == 1
    assert seen.sum("partisan_workers") == 2


def test_a_scrape_is_answered_while_the_table_is_locked(watching: Watching):
    manager = watching.ready(observability={"METRICS_DB_TIMEOUT": 1})
    enqueue("Leaf")
    wait_until_done()
    before = scrape_until(manager, "partisan_tasks_completed_total", 1)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE django_partisan_task IN ACCESS EXCLUSIVE MODE")
        answers = [get(address_of(manager)) for _ in range(3)]
        ready = get(address_of(manager), "/live")
    wait_for_scrape(lambda: scrape(manager).sum("partisan_db_up") == 1)

    assert before.sum("partisan_db_up") == 1
    for answer in answers:
        assert_scrape_without_database(answer)
    assert ready.status == 200


@pytest.mark.parametrize("how", ["cut", "hold"])
def test_a_scrape_is_answered_while_the_database_is_away(watching: Watching, how: str):
    with Wire() as wire:
        manager = watching.ready(
            database=wire.database, observability={"METRICS_DB_TIMEOUT": 1, "METRICS_DB_MAX_AGE": 15}
        )
        enqueue("Leaf")
        wait_until_done()
        scrape_until(manager, "partisan_tasks_completed_total", 1)
        fresh = scrape(manager)
        getattr(wire, how)()
        first = get(address_of(manager))
        wait_for_scrape(
            lambda: "partisan_queue_tasks{" not in get(address_of(manager)).body,
            seconds=40,
            what="old figures disappear",
        )
        late = get(address_of(manager))
        wire.mend()
        wait_for_scrape(lambda: scrape(manager).sum("partisan_db_up") == 1)
        assert manager.stop() == 0

    assert "partisan_queue_tasks" in names(fresh)
    for answer in (first, late):
        assert_scrape_without_database(answer)
    assert "partisan_queue_tasks" in names(Scrape(first.body))
    assert names(Scrape(late.body)) & OF_DATABASE <= KEPT


def names(seen: Scrape) -> set[str]:
    return {name for name, _ in seen.values}


@pytest.fixture
def shifted(db: None) -> Iterator[str]:
    """Create functions that return the time of a database whose clock is an hour ahead."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA ahead")
        for function in ("now", "clock_timestamp", "statement_timestamp"):
            cursor.execute(
                f"CREATE FUNCTION ahead.{function}() RETURNS timestamptz LANGUAGE sql STABLE AS"
                f" 'SELECT pg_catalog.{function}() + interval ''{SHIFT_SECONDS} seconds'''"
            )
    yield "ahead, pg_catalog, public"
    with connection.cursor() as cursor:
        cursor.execute("SET search_path TO DEFAULT")
        cursor.execute("DROP SCHEMA ahead CASCADE")


def test_waits_come_from_the_database_where_clocks_differ(watching: Watching, shifted: str):
    options = {"options": f"-c search_path={shifted.replace(' ', '')}"}
    manager = watching.ready(database={**this_database(), "OPTIONS": options})
    with connection.cursor() as cursor:
        cursor.execute(f"SET search_path TO {shifted}")
    enqueue("Leaf", times=5)
    enqueue("Postpone", 1, 0.2)
    wait_until_done()
    seen = scrape_until(manager, "partisan_task_attempts_count", 6)
    manager.stop()

    assert seen.sum("partisan_db_clock_skew_seconds") == pytest.approx(SHIFT_SECONDS, abs=10)
    assert seen.sum("partisan_task_queue_wait_seconds_sum") < 60
    assert seen.sum("partisan_queue_oldest_due_age_seconds") == 0
    lines = [line for line in checked(manager.out()) if "partisan.task.wait_ns" in line]
    assert len(lines) == 7
    assert max(line["partisan.task.wait_ns"] for line in lines) < 60 * 10**9
    assert count_by_status() == {"finished": 6}
    assert Task.objects.filter(execute_after__lt=lines[0]["@timestamp"]).count() == 0
