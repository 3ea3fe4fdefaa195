"""The checks that ask a real PostgreSQL."""

import copy
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, connections
from django.db.migrations.recorder import MigrationRecorder

from django_partisan.doctor import clock, database, managers, migrations, notifications
from django_partisan.doctor.examination import examine
from django_partisan.doctor.finding import ERROR, FINE, SKIPPED, WARNING
from django_partisan.doctor.subject import Subject
from django_partisan.models import ManagerLease, Task
from django_partisan.sql import connection as sql_connection
from django_partisan.sql.connection import open_connection
from django_partisan.sql.listening import queues_notified

pytestmark = pytest.mark.django_db(transaction=True)

SUBJECT = Subject("default")


@contextmanager
def settings_of_database(**changed: Any) -> Iterator[None]:
    """Have another connection in the place of the default one."""
    before = connections["default"]
    other = before.copy()
    other.settings_dict = {**copy.deepcopy(before.settings_dict), **changed}
    connections["default"] = other
    try:
        yield
    finally:
        other.close()
        connections["default"] = before


def test_a_database_that_answers_is_named_with_its_version():
    [finding] = database.look(SUBJECT)

    assert finding.status == FINE
    assert repr(connection.settings_dict["NAME"]) in finding.message
    assert "PostgreSQL 1" in finding.message
    assert "by psycopg" in finding.message


def test_a_database_out_of_reach_is_an_error_and_what_needs_it_is_skipped():
    with settings_of_database(HOST="127.0.0.1", PORT=1):
        findings = {finding.check: finding for finding in examine(SUBJECT)}

    assert findings["database"].status == ERROR
    assert "is out of reach" in findings["database"].message
    for name in ("migrations", "notifications", "clock", "managers"):
        assert findings[name].status == SKIPPED
        assert findings[name].message == "Not looked at: first cure database."
    assert findings["host"].status == FINE


def test_another_kind_of_database_is_an_error(monkeypatch):
    monkeypatch.setattr(type(connections["default"]), "vendor", "sqlite")

    [finding] = database.look(SUBJECT)

    assert finding.status == ERROR
    assert "needs PostgreSQL" in finding.message


def test_applied_migrations_are_fine():
    [finding] = migrations.look(SUBJECT)

    assert finding.status == FINE


@pytest.mark.parametrize(("alias", "option"), [("default", ""), ("tasks", " --database tasks")])
def test_a_missing_migration_is_an_error_with_the_command(monkeypatch, alias, option):
    if alias == "tasks":
        monkeypatch.setattr(migrations, "task_database", lambda: "tasks")
        monkeypatch.setattr(migrations, "connections", {"tasks": connection})
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("django_partisan", "0006_feature_indexes")
    try:
        [finding] = migrations.look(SUBJECT)
    finally:
        recorder.record_applied("django_partisan", "0006_feature_indexes")

    assert finding.status == ERROR
    assert finding.message == "Missing: 0006_feature_indexes."
    assert finding.cure == f"Run: manage.py migrate django_partisan{option}"


def test_a_notification_to_ourselves_arrives():
    [finding] = notifications.look(SUBJECT)

    assert finding.status == FINE
    assert finding.message == "A notification arrives."


def test_a_notification_that_is_swallowed_is_a_warning(monkeypatch):
    monkeypatch.setattr(notifications, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(
        notifications, "queues_notified", lambda listener: queues_notified(listener) and set()
    )

    [finding] = notifications.look(SUBJECT)

    assert finding.status == WARNING
    assert "something swallows it" in finding.message


@pytest.mark.parametrize(("disabled", "count"), [(False, 2), (True, 1)])
def test_a_pooler_in_transaction_mode_asks_for_a_setting_of_django(monkeypatch, disabled, count):
    def open_as_set(role: str) -> Any:
        made = open_connection(role)
        made.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] = disabled
        return made

    monkeypatch.setattr(notifications, "open_connection", open_as_set)
    monkeypatch.setattr(notifications, "hears", lambda *_: False)
    monkeypatch.setattr(notifications, "is_pooled", lambda _: True)

    findings = list(notifications.look(SUBJECT))

    assert [finding.status for finding in findings] == [WARNING] * count
    assert all("pooler in transaction mode" in finding.message for finding in findings)


def test_managers_do_not_hear_the_doctor():
    listener = open_connection("test")
    sql_connection.execute(listener, "LISTEN django_partisan")

    list(notifications.look(SUBJECT))

    assert queues_notified(listener) == set()
    listener.close()


def test_clocks_of_one_machine_agree():
    [finding] = clock.look(SUBJECT)

    assert finding.status == FINE


def test_a_queue_that_nobody_serves_is_a_warning_that_says_what_waits():
    Task.objects.create(processor_class="Pass")
    _lease(queue_name="other")
    gone = _lease()
    ManagerLease.objects.filter(pk=gone.pk).update(heartbeat_at="2020-01-01T00:00:00Z")

    [finding] = managers.look(SUBJECT)

    assert finding.status == WARNING
    assert finding.message == "No manager serves the queue 'default'; 1 task waits."
    assert finding.cure == "Run: manage.py start_partisan --queue-name default"


def test_managers_that_serve_the_queue_are_named():
    _lease(host="one", pid=11)
    _lease(host="two", pid=22)

    [finding] = managers.look(SUBJECT)

    assert finding.status == FINE
    assert finding.message == "The queue 'default' is served by one:11, two:22; 0 tasks wait."


def _lease(queue_name: str = "default", host: str = "here", pid: int = 1) -> ManagerLease:
    return ManagerLease.objects.create(
        queue_name=queue_name, host=host, pid=pid, lock_name=uuid.uuid4(), lease_seconds=30
    )
