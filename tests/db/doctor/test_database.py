"""Checks that query a real PostgreSQL."""

import copy
import re
import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone

import pytest
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder

from django_partisan.doctor import notifications
from django_partisan.doctor.database import LET_IT_WRITE
from django_partisan.doctor.examination import CHECKS, examine
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING, Finding, Subject
from django_partisan.models import Chore, ManagerLease, Pause, Task
from django_partisan.pausing import pause
from django_partisan.sql.connection import execute, fetch_all, open_connection
from django_partisan.sql.enqueueing import CHANNEL
from django_partisan.sql.listening import Listener
from tests.support.database import LATEST_MIGRATION, open_transaction

pytestmark = pytest.mark.django_db(transaction=True)

SUBJECT = Subject("default")


def one(name: str) -> Finding:
    """Return the only finding of a check."""
    [finding] = examine(SUBJECT, {name: CHECKS[name]._replace(needs=())})
    return finding


def test_a_database_that_answers_is_named_with_its_version():
    finding = one("database")

    assert finding.status == FINE
    assert repr(connection.settings_dict["NAME"]) in finding.message
    assert "PostgreSQL 1" in finding.message
    assert "through psycopg" in finding.message


@pytest.fixture
def unreachable() -> Iterator[None]:
    """Replace the default connection with one to a closed port."""
    before = connections["default"]
    other = before.copy()
    other.settings_dict = {**copy.deepcopy(before.settings_dict), "HOST": "127.0.0.1", "PORT": 1}
    connections["default"] = other
    yield
    other.close()
    connections["default"] = before


@pytest.mark.usefixtures("unreachable")
def test_a_database_out_of_reach_is_an_error_and_what_needs_it_is_skipped():
    findings = {finding.check: finding for finding in examine(SUBJECT)}

    assert findings["database"].status == ERROR
    assert "cannot be reached" in findings["database"].message
    assert "correct DATABASES" in findings["database"].remedy
    for name in ("migrations", "notifications", "clock", "managers", "paused", "held", "retention"):
        assert findings[name].status == SKIPPED
        assert findings[name].message == "Skipped: correct database first."
    assert findings["host"].status == FINE


def test_applied_migrations_are_fine():
    assert one("migrations").status == FINE


def test_tables_that_were_made_without_migrations_are_fine():
    recorder = MigrationRecorder(connection)
    names = [name for app, name in recorder.applied_migrations() if app == "django_partisan"]
    for name in names:
        recorder.record_unapplied("django_partisan", name)
    try:
        finding = one("migrations")
    finally:
        for name in names:
            recorder.record_applied("django_partisan", name)

    assert finding.status == FINE
    assert "created without migrations" in finding.message


def test_a_missing_migration_is_an_error_with_the_command():
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("django_partisan", LATEST_MIGRATION)
    try:
        finding = one("migrations")
    finally:
        recorder.record_applied("django_partisan", LATEST_MIGRATION)

    assert finding.status == ERROR
    assert finding.message == f"Migrations of django_partisan are missing: {LATEST_MIGRATION}."
    assert finding.remedy == "Run: manage.py migrate django_partisan"


def test_a_column_that_is_gone_is_an_error_though_every_migration_is_recorded():
    execute(connection, "ALTER TABLE django_partisan_task RENAME priority TO mislaid")
    try:
        finding = one("migrations")
    finally:
        execute(connection, "ALTER TABLE django_partisan_task RENAME mislaid TO priority")

    assert finding.status == ERROR
    assert finding.message.endswith("but these are missing: django_partisan_task.priority.")


def test_a_server_that_takes_writes_is_fine():
    assert one("writes").status == FINE


def test_a_server_that_is_set_to_be_read_only_is_an_error():
    execute(connection, "SET default_transaction_read_only = on")
    try:
        finding = one("writes")
    finally:
        execute(connection, "RESET default_transaction_read_only")

    assert finding == Finding(ERROR, "PostgreSQL is set to be read-only.", LET_IT_WRITE, check="writes")


def test_a_locked_table_does_not_hold_up_the_doctor_and_the_session_is_named():
    with open_transaction("LOCK TABLE django_partisan_task") as other:
        finding = one("managers")
        locker = fetch_all(other, "SELECT pg_backend_pid()")[0][0]

    assert finding.status == ERROR
    assert f"(the table is locked by session {locker} " in finding.message


def test_every_index_exists():
    assert one("indexes") == Finding(FINE, "All 9 indexes and constraints exist.", check="indexes")


@pytest.mark.parametrize("name", ["partisan_task_twin", "partisan_task_ready", "partisan_pause_once"])
def test_a_missing_index_is_an_error_with_the_statement_that_makes_it(name):
    kind = "CONSTRAINT" if name == "partisan_pause_once" else "INDEX"
    drop = {
        "INDEX": f"DROP INDEX {name}",
        "CONSTRAINT": f"ALTER TABLE django_partisan_pause DROP CONSTRAINT {name}",
    }
    execute(connection, drop[kind])
    finding = one("indexes")
    execute(connection, finding.remedy.removeprefix("Run this SQL: "))

    assert finding.status == ERROR
    assert f"The index {name} of django_partisan_" in finding.message
    assert finding.message.endswith(" does not exist.")
    assert "CONCURRENTLY" in finding.remedy or kind == "CONSTRAINT"
    assert one("indexes").status == FINE


def test_an_index_of_another_schema_is_not_taken_for_that_of_the_table():
    execute(connection, "ALTER INDEX partisan_task_failed RENAME TO mislaid")
    execute(connection, "CREATE TABLE lookalike (status text)")
    execute(connection, "CREATE INDEX partisan_task_failed ON lookalike (status)")
    try:
        assert one("indexes").status == ERROR
    finally:
        execute(connection, "DROP TABLE lookalike")
        execute(connection, "ALTER INDEX mislaid RENAME TO partisan_task_failed")


def test_an_index_whose_build_was_interrupted_is_an_error_with_both_statements():
    invalid = "UPDATE pg_index SET indisvalid = %s WHERE indexrelid = 'partisan_task_failed'::regclass"
    execute(connection, invalid, (False,))
    try:
        finding = one("indexes")
    finally:
        execute(connection, invalid, (True,))

    assert (
        finding.message
        == "The index partisan_task_failed of django_partisan_task is invalid: its build was interrupted."
    )
    assert "DROP INDEX CONCURRENTLY partisan_task_failed; CREATE INDEX CONCURRENTLY" in finding.remedy


def test_a_notification_to_ourselves_arrives():
    assert one("notifications") == Finding(FINE, "A notification arrives.", check="notifications")


def test_a_notification_that_does_not_arrive_is_not_waited_for_longer_than_asked():
    with closing(open_connection("test")) as listener:
        assert (
            notifications.is_received(Listener(listener, notifications.CHANNEL_OF_DOCTOR), "nothing", 0.05)
            is False
        )


def test_managers_do_not_receive_the_doctors_notification():
    with closing(open_connection("test")) as connection:
        listener = Listener(connection, CHANNEL)

        one("notifications")

        assert listener.take() == {}


def test_clocks_of_one_machine_agree():
    assert one("clock").status == FINE


def test_a_queue_that_nobody_serves_is_a_warning_that_says_what_waits():
    Task.objects.create(processor_class="Pass")
    _lease(queue_name="other")
    gone = _lease()
    ManagerLease.objects.filter(pk=gone.pk).update(heartbeat_at="2020-01-01T00:00:00Z")
    worker = _lease()
    ManagerLease.objects.filter(pk=worker.pk).update(state={"role": "worker"})

    finding = one("managers")

    assert finding.status == WARNING
    assert finding.message == "No manager serves the queue 'default'; 1 task waits."
    assert finding.remedy == "Run: manage.py start_partisan --queue-name default"


def test_managers_that_serve_the_queue_are_named():
    _lease(host="one", pid=11)
    _lease(host="two", pid=22)

    finding = one("managers")

    assert finding.status == FINE
    assert finding.message == "The queue 'default' is served by one:11, two:22; 0 tasks wait."


def test_that_nothing_is_set_aside_is_fine():
    Task.objects.create(processor_class="Pass")
    Task.objects.create(processor_class="Gone", queue_name="other", held="unregistered")

    assert one("held") == (FINE, "No task of the queue 'default' is held.", "", "held")


@pytest.mark.parametrize(
    ("processor", "where", "remedy"),
    [
        ("Gone", "It is not registered on this host either", "Deploy managers whose code registers Gone"),
        ("Pass", "It is registered on this host", "Restart the managers with the code of this host"),
    ],
)
def test_tasks_of_a_processor_that_no_manager_knows_are_a_warning_with_the_remedy(processor, where, remedy):
    for day in (2, 1, 3):
        since = datetime(2026, 1, day, tzinfo=timezone.utc)
        Task.objects.create(processor_class=processor, held="unregistered", unregistered_since=since)

    finding = one("held")

    assert finding.status == WARNING
    assert finding.message == (
        f"3 tasks of {processor} have been held since 2026-01-01 00:00 UTC: "
        f"no manager has registered the processor. {where}."
    )
    assert finding.remedy == f"{remedy}; the tasks fail after 86400 s (UNREGISTERED_GRACE_SECONDS)."


def _lease(queue_name: str = "default", host: str = "here", pid: int = 1) -> ManagerLease:
    return ManagerLease.objects.create(
        queue_name=queue_name, host=host, pid=pid, lock_name=uuid.uuid4(), lease_seconds=30
    )


def test_a_pause_is_reported_with_all_that_is_known_of_it():
    assert one("paused") == Finding(FINE, "The queue 'default' is not paused.", check="paused")
    pause("default", until=timedelta(hours=2), comment="it moves", by="ada")

    finding = one("paused")

    assert finding.status == WARNING
    assert re.fullmatch(
        r"The queue 'default' is paused since \S+ \S+ until \S+ \S+ by ada: it moves. None of its tasks"
        r" starts.",
        finding.message,
    )
    assert finding.remedy.endswith("manage.py partisan_resume --queue-name default")


def test_a_pause_of_which_nothing_is_known_is_reported_too():
    Pause.objects.create(queue_name="default", paused_at=None)

    assert one("paused").message == "The queue 'default' is paused. None of its tasks starts."


def ended(days: float) -> None:
    """Insert a task that completed ``days`` days ago."""
    moment = datetime.now(timezone.utc) - timedelta(days=days)
    Task.objects.create(processor_class="Letter", status="finished", finished_at=moment)
    Task.objects.update(created_at=moment)


@pytest.fixture
def _no_processors(own_registry: None) -> None:
    """Remove processors of other tests, which could set retention times."""


@pytest.mark.usefixtures("_no_processors")
def test_rows_that_are_late_are_a_warning_unless_a_manager_has_just_pruned():
    ended(13)
    assert one("retention").message.startswith("No manager has pruned yet. KEEP_")
    ended(15)

    finding = one("retention")

    assert finding.status == WARNING
    assert finding.message == (
        "No manager has pruned yet; 1 of the first 10000 rows should have been deleted more than 1 h ago."
    )
    assert "manage.py partisan_prune" in finding.remedy
    ended(16)
    Chore.objects.create(name="prune", last_at=datetime.now(timezone.utc) - timedelta(seconds=4000))
    assert "A manager pruned 40" in one("retention").message
    assert "2 of the first 10000 rows should" in one("retention").message
    Chore.objects.update(cursor={"kept": 1_000_000})
    assert one("retention").status == FINE


@pytest.mark.usefixtures("_no_processors")
def test_rows_of_a_queue_that_the_settings_do_not_name_are_not_late(settings):
    settings.TASKS = {}
    ended(15)
    assert one("retention").status == WARNING

    settings.PARTISAN_CONFIG = {"mail": {}}

    assert one("retention").status == FINE


@pytest.mark.usefixtures("_no_processors")
def test_settings_that_keep_every_row_are_fine(settings):
    settings.PARTISAN_CONFIG = {"default": {"KEEP_FINISHED_SECONDS": None}}
    ended(100)

    assert one("retention").status == FINE
    assert "forever" in one("retention").message
