"""Alerts fire for real problems, reach a webhook through a real Alertmanager, and resolve.

The rules are the committed ones with seconds in place of minutes (``shortening``).
"""

import signal
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import psycopg2

from tests.real_parts.live_stack import Manager, Stack
from tests.support.waiting import wait_until


@contextmanager
def _manager(stack: Stack, queue: str, workers: int = 2) -> Iterator[Manager]:
    manager = stack.start_manager(queue, workers)
    try:
        is_up = f'up{{instance=~".+:{manager.port}"}} == 1'
        wait_until(lambda: stack.prometheus.query(is_up), 30, "the first scrape", every=0.1)
        yield manager
    finally:
        manager.stop()
        stack.prometheus.forget(manager.port)


@contextmanager
def _table_locked(stack: Stack) -> Iterator[None]:
    with closing(psycopg2.connect(stack.env["DATABASE_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute("LOCK TABLE django_partisan_task IN ACCESS EXCLUSIVE MODE")
        yield
        connection.rollback()


def _got(stack: Stack, status: str, alert: str, seconds: float = 60, **labels: str) -> dict[str, str]:
    received = partial(stack.webhook.has_received, status, alert, **labels)
    message: Any = wait_until(received, seconds, f"{alert} {status}", every=0.1)
    return message["annotations"]  # type: ignore[no-any-return]


def test_a_killed_manager_is_missed_until_it_is_back(stack: Stack) -> None:
    with _manager(stack, "idle") as manager:
        manager.process.send_signal(signal.SIGKILL)
        manager.process.wait()

        missing = _got(stack, "firing", "PartisanManagerMissing", queue="idle")
        down = partial(
            stack.alertmanager.state_of, "PartisanManagerDown", instance=f"127.0.0.1:{manager.port}"
        )
        wait_until(lambda: down() == "suppressed", 60, "PartisanManagerDown suppressed", every=0.1)
        again = stack.start_manager("idle", port=manager.port)
        _got(stack, "resolved", "PartisanManagerMissing", queue="idle")
        wait_until(lambda: down() is None, 60, "PartisanManagerDown resolved", every=0.1)
        again.stop()

    assert "queue idle" in missing["description"]


def test_workers_that_die_again_and_again_are_told_with_the_tasks_that_were_taken_over(stack: Stack) -> None:
    with _manager(stack, "crashing"):
        stack.enqueue("Crash", 3)

        looping = _got(stack, "firing", "PartisanWorkersCrashLooping", queue="crashing")
        _got(stack, "firing", "PartisanTasksRescued", queue="crashing", reason="worker_lost")
        _got(stack, "resolved", "PartisanWorkersCrashLooping", queue="crashing")
        _got(stack, "resolved", "PartisanTasksRescued", queue="crashing")

    assert "died within 10 minutes" in looping["description"]


def test_a_processor_that_fails_is_named(stack: Stack) -> None:
    with _manager(stack, "failing"):
        stack.enqueue("Fail", 20)

        failing = _got(stack, "firing", "PartisanTaskFailureRatioHigh", queue="failing", processor="Fail")
        _got(stack, "resolved", "PartisanTaskFailureRatioHigh", queue="failing")

    assert "100% of the tasks of Fail in queue failing failed" in failing["description"]


def test_a_backlog_is_late_and_its_workers_saturated_until_it_is_worked_off(stack: Stack) -> None:
    with _manager(stack, "backlog", workers=1):
        stack.enqueue("Nap", 80)

        _got(stack, "firing", "PartisanQueueLatencyHigh", queue="backlog")
        _got(stack, "firing", "PartisanQueueLatencyCritical", queue="backlog")
        _got(stack, "firing", "PartisanWorkersSaturated", queue="backlog")
        _got(stack, "resolved", "PartisanQueueLatencyHigh", queue="backlog")
        _got(stack, "resolved", "PartisanWorkersSaturated", queue="backlog")


def test_a_locked_table_is_told_while_scrapes_go_on_and_resolves_with_the_lock(stack: Stack) -> None:
    with _manager(stack, "locked") as manager:
        with _table_locked(stack):
            unreachable = _got(stack, "firing", "PartisanDatabaseUnreachable", queue="locked")
            still_scraped = stack.prometheus.query(f'up{{instance="127.0.0.1:{manager.port}"}} == 1')
        _got(stack, "resolved", "PartisanDatabaseUnreachable", queue="locked")

    assert "does not answer the manager" in unreachable["description"]
    assert still_scraped


def _execute(stack: Stack, *statements: str) -> None:
    with closing(psycopg2.connect(stack.env["DATABASE_URL"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


@contextmanager
def _read_only(stack: Stack) -> Iterator[None]:
    """Refuse writes in every session, as a standby does."""
    end_sessions = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with closing(psycopg2.connect(stack.env["DATABASE_URL"])) as connection:
        name = connection.info.dbname
    _execute(stack, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on', end_sessions)
    try:
        yield
    finally:
        _execute(
            stack,
            "SET default_transaction_read_only = off",
            f'ALTER DATABASE "{name}" RESET default_transaction_read_only',
            end_sessions,
        )


def test_a_queue_without_a_manager_is_told_by_the_manager_of_another(stack: Stack) -> None:
    with _manager(stack, "idle"):
        stack.enqueue("Report", 2)

        unserved = _got(stack, "firing", "PartisanQueueUnserved", queue="reports")
        _execute(stack, "DELETE FROM django_partisan_task WHERE queue_name = 'reports'")
        _got(stack, "resolved", "PartisanQueueUnserved", queue="reports")

    assert unserved["description"].startswith("2 or more tasks of queue reports are due")


def test_a_column_that_is_missing_is_told_as_refused_claims_and_not_as_a_database_that_is_down(
    stack: Stack,
) -> None:
    with _manager(stack, "various"):
        _execute(stack, "ALTER TABLE django_partisan_task RENAME COLUMN priority TO gone")
        try:
            _got(stack, "firing", "PartisanClaimErrors", queue="various")
        finally:
            _execute(stack, "ALTER TABLE django_partisan_task RENAME COLUMN gone TO priority")
        _got(stack, "resolved", "PartisanClaimErrors", queue="various")

    assert not stack.webhook.has_received("firing", "PartisanDatabaseUnreachable", queue="various")


@contextmanager
def _way_to(manager: Manager) -> Iterator[ThreadingHTTPServer]:
    """Serve a manager's metrics at another port, until the block ends or the server is shut down."""

    class Way(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = urllib.request.Request(  # in the format that the scrape requests
                f"http://127.0.0.1:{manager.port}/metrics", headers={"Accept": self.headers["Accept"]}
            )
            with urllib.request.urlopen(wanted, timeout=5) as answer:
                self.send_response(200)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.end_headers()
                self.wfile.write(answer.read())

        def log_message(self, *args: Any) -> None:
            """Log nothing."""

    way = ThreadingHTTPServer(("127.0.0.1", 0), Way)
    threading.Thread(target=way.serve_forever, daemon=True).start()
    try:
        yield way
    finally:
        way.shutdown()
        way.server_close()


def test_a_manager_that_is_alive_and_cannot_be_scraped_is_told_apart_from_one_that_is_missing(
    stack: Stack,
) -> None:
    with _manager(stack, "idle"), _manager(stack, "unseen") as manager, _way_to(manager) as way:
        instance = f"127.0.0.1:{way.server_port}"
        stack.prometheus.forget(manager.port)
        stack.prometheus.scrape(way.server_port)
        is_seen = f'partisan_workers_configured{{instance="{instance}"}}'
        wait_until(lambda: stack.prometheus.query(is_seen), 30, "a scrape by the other way", every=0.1)

        way.shutdown()
        way.server_close()

        alive = _got(stack, "firing", "PartisanManagerNotScraped", queue="unseen")
        _got(stack, "firing", "PartisanManagerDown", instance=instance)
        stack.prometheus.forget(way.server_port)

    assert "is 1, but fewer answer scrapes" in alive["description"]
    assert not stack.webhook.has_received("firing", "PartisanManagerMissing", queue="unseen")


def test_a_server_that_became_read_only_is_told_as_that_and_managers_are_not_missed(stack: Stack) -> None:
    with _manager(stack, "readonly"):
        with _read_only(stack):
            _got(stack, "firing", "PartisanDatabaseReadOnly", queue="readonly")
        _got(stack, "resolved", "PartisanDatabaseReadOnly", queue="readonly")

    others = ("PartisanManagerMissing", "PartisanDatabaseUnreachable", "PartisanQueueUnserved")
    assert [alert for alert in others if stack.webhook.has_received("firing", alert, queue="readonly")] == []
