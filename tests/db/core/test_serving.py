"""``start_partisan`` requires a reachable, migrated PostgreSQL, and says what it serves."""

import io
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from datetime import timedelta

import django
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings
from django.utils import timezone
from pytest_django import DjangoDbBlocker

import django_partisan
from django_partisan.config import queues
from django_partisan.engine.manager import startup
from django_partisan.exceptions import CannotStart, WrongSetting
from django_partisan.sql import readiness
from django_partisan.sql.backlog import server_version, waiting
from django_partisan.sql.connection import address_of, application_name, execute, fetch_all, task_database
from django_partisan.sql.enqueueing import wake
from tests.support.database import ELSEWHERE, LATEST_MIGRATION, ElsewhereRouter, database_elsewhere
from tests.support.rows import insert
from tests.support.telemetry import telemetry_kept

PASSWORD = "do not tell"


@pytest.fixture
def nothing_listens() -> Iterator[None]:
    """Put the task database at a port where nothing listens."""
    with database_elsewhere(HOST="127.0.0.1", PORT="1", USER="postgres", PASSWORD=PASSWORD):
        yield


@pytest.fixture
def files() -> Iterator[None]:
    """Make the task database one that is not PostgreSQL."""
    with database_elsewhere(ENGINE="django.db.backends.sqlite3", NAME=":memory:"):
        yield


@pytest.mark.usefixtures("nothing_listens")
def test_a_database_out_of_reach_is_told_by_host_port_and_name_never_by_its_password(django_db_blocker):
    with django_db_blocker.unblock(), pytest.raises(CannotStart) as refused:
        startup.ensure_database()

    said = str(refused.value)
    name = connections[ELSEWHERE].settings_dict["NAME"]
    assert said.startswith(f"The database {name!r} at 127.0.0.1:1 cannot be reached: ")
    assert "refused" in said
    assert "--wait-for-database SECONDS" in said
    assert "\n" not in said
    assert PASSWORD not in said


@pytest.mark.usefixtures("nothing_listens")
def test_a_database_out_of_reach_is_tried_again_as_long_as_asked(django_db_blocker):
    started = time.monotonic()

    with django_db_blocker.unblock(), pytest.raises(CannotStart):
        startup.ensure_database(0.3)

    assert 0.3 <= time.monotonic() - started < 10


@pytest.mark.usefixtures("files")
def test_a_database_that_is_not_postgresql_is_refused():
    with pytest.raises(CannotStart, match="The tasks' database 'elsewhere' is sqlite; django-partisan needs"):
        startup.ensure_database()


@pytest.fixture
def not_migrated(django_db_setup: None) -> Iterator[None]:
    with database_elsewhere(NAME="postgres"):
        yield


@pytest.mark.usefixtures("not_migrated")
def test_missing_migrations_of_another_database_are_applied_there(django_db_blocker):
    with django_db_blocker.unblock(), pytest.raises(CannotStart) as refused:
        startup.ensure_database()

    said = str(refused.value)
    assert "0003_version_2, 0004_version_2_indexes, 0005_feature_columns, 0006_feature_indexes, " in said
    assert f"{LATEST_MIGRATION}. " in said
    assert said.endswith("Run: manage.py migrate django_partisan --database elsewhere")


@pytest.mark.usefixtures("temporary_folder")
def test_a_signal_while_the_database_is_waited_for_ends_the_command_well(django_db_blocker):
    said = io.StringIO()

    def stop() -> None:
        with silent.accept()[0]:
            os.kill(os.getpid(), signal.SIGTERM)
            ended.wait()

    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stopping = threading.Thread(target=stop)
        stopping.start()
        port = str(silent.getsockname()[1])
        with (
            database_elsewhere(HOST="127.0.0.1", PORT=port),
            telemetry_kept(),
            django_db_blocker.unblock(),
        ):
            call_command("start_partisan", once=True, wait_for_database=60, stderr=said)
        ended.set()
        stopping.join()

    assert said.getvalue() == "Stopped by SIGTERM before it began to serve; nothing was claimed.\n"


@pytest.fixture
def without_the_last_migration(transactional_db: None) -> Iterator[None]:
    """Remove the record of the last migration, visible to other connections."""
    recorder = MigrationRecorder(connection)
    recorder.record_unapplied("django_partisan", LATEST_MIGRATION)
    yield
    recorder.record_applied("django_partisan", LATEST_MIGRATION)


@pytest.mark.usefixtures("without_the_last_migration", "temporary_folder")
def test_missing_migrations_are_refused_in_one_line_with_the_remedy_and_exit_code_1():
    with telemetry_kept(), pytest.raises(CommandError) as refused:
        call_command("start_partisan", once=True)

    assert refused.value.returncode == 1
    assert str(refused.value) == (
        f"Migrations of django_partisan are missing: {LATEST_MIGRATION}."
        " Run: manage.py migrate django_partisan"
    )


@pytest.fixture
def role(django_db_setup: None, django_db_blocker: DjangoDbBlocker, worker_id: str) -> Iterator[str]:
    """Access the task database with a role that may log in, but nothing else."""
    role, name = f"stranger_{worker_id}", connection.settings_dict["NAME"]
    with django_db_blocker.unblock():
        execute(connection, f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        with database_elsewhere(NAME=name, USER=role, PASSWORD="x"):
            yield role
        execute(connection, f"DROP OWNED BY {role}")
        execute(connection, f"DROP ROLE {role}")
        connection.close()


@pytest.mark.parametrize(
    ("granted", "said"),
    [
        (
            [],
            (
                "denies the role a privilege: permission denied for table django_migrations. "
                "Grant it to the role "
            ),
        ),
        (
            ["SELECT ON ALL TABLES IN SCHEMA public", "UPDATE, INSERT ON django_partisan_manager"],
            (
                "lacks privileges in the tasks' database: UPDATE on public.django_partisan_task, "
                "DELETE on public."
            ),
        ),
    ],
)
def test_a_role_without_rights_is_refused_in_one_line_with_what_it_lacks(granted, said, role):
    for privileges in granted:
        execute(connection, f"GRANT {privileges} TO {role}")

    with pytest.raises(CannotStart) as refused:
        startup.ensure_database()

    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_role_whose_search_path_leads_nowhere_is_not_told_to_migrate(role):
    execute(connection, f"ALTER ROLE {role} SET search_path = nowhere")

    with pytest.raises(
        CannotStart, match=r"cannot use any schema in its search_path \(nowhere\)\. GRANT it USAGE"
    ):
        startup.ensure_database()


@pytest.mark.django_db
def test_a_connection_that_is_lost_during_a_check_is_refused_in_one_line():
    with pytest.raises(CannotStart) as refused:
        readiness.call_with_connection(
            lambda each: fetch_all(each, "SELECT pg_terminate_backend(pg_backend_pid())")
        )

    assert "ended the connection during the start: " in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.django_db
def test_a_connection_that_is_lost_is_tried_again_while_the_command_waits_for_the_database():
    calls: list[int] = []

    def lose_the_first(each: BaseDatabaseWrapper) -> str:
        calls.append(1)
        if len(calls) == 1:
            fetch_all(each, "SELECT pg_terminate_backend(pg_backend_pid())")
        return "ready"

    assert readiness.call_with_connection(lose_the_first, wait_seconds=20) == "ready"


@override_settings(
    PARTISAN_CONFIG={"mail": {"WORKERS_COUNT": 0, "X": 1}}, PARTISAN_OBSERVABILITY={"METRICS_PORT": "a"}
)
def test_wrong_settings_are_all_told_at_once():
    with pytest.raises(WrongSetting) as refused:
        startup.ensure_right_settings()

    assert all(word in str(refused.value) for word in ("WORKERS_COUNT", "'X'", "METRICS_PORT"))


@pytest.mark.django_db
@pytest.mark.parametrize(("workers", "said"), [(1, "with 1 worker:"), (4, "with 4 workers:")])
def test_one_line_says_queue_workers_database_and_versions(workers, said):
    served = startup.ensure_database()

    line = startup.describe(queues.queue_config(workers_count=workers), served.version)

    assert line.startswith(
        f"Serving queue 'default' {said} database {connection.settings_dict['NAME']!r} at "
    )
    assert f"PostgreSQL {server_version(connection)}, Django {django.get_version()}" in line
    assert line.endswith(f"django-partisan {django_partisan.__version__}.")
    assert "\n" not in line


@pytest.mark.parametrize("mode", [True, "raise", False])
def test_in_immediate_mode_a_line_says_what_is_left_to_a_manager(mode, settings):
    settings.PARTISAN_IMMEDIATE = mode

    notice = startup.notice_of_immediate_mode()

    assert (notice or "").startswith("PARTISAN_IMMEDIATE is set: processes with these" if mode else "")
    assert (notice is None) == (mode is False)


@override_settings(PARTISAN_IMMEDIATE="on")
def test_a_wrong_value_for_immediate_mode_is_refused():
    with pytest.raises(WrongSetting, match="PARTISAN_IMMEDIATE is 'on'; expected True, False or 'raise'"):
        startup.ensure_right_settings()


@pytest.mark.parametrize(
    ("variables", "place"),
    [({}, "local socket:5432"), ({"PGHOST": "db.example", "PGPORT": "6432"}, "db.example:6432")],
)
def test_an_address_follows_the_variables_of_libpq_where_the_settings_are_silent(
    variables, place, monkeypatch
):
    for name in ("PGHOST", "PGHOSTADDR", "PGPORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    made = connections.create_connection("default")
    made.settings_dict = {**made.settings_dict, "NAME": "shop", "HOST": "", "PORT": ""}

    assert address_of(made) == f"'shop' at {place}"


def test_the_database_of_the_tasks_is_where_the_router_writes_them():
    assert task_database() == "default"
    with override_settings(DATABASE_ROUTERS=[ElsewhereRouter()]):
        assert task_database() == ELSEWHERE


def test_the_name_of_a_connection_fits_into_what_postgresql_keeps():
    assert application_name("claim mail") == "django_partisan claim mail"
    assert len(application_name("q" * 100)) == 63


@pytest.mark.django_db
def test_what_waits_is_counted_with_the_moment_of_the_next():
    assert waiting(connection, "default") == (0, None, None, 0)

    insert("mail")
    due, later = insert(), insert(execute_after=timezone.now() + timedelta(hours=1))

    found = waiting(connection, "default")
    assert (found.number, found.next_due_at) == (2, due.execute_after)
    assert found.next_due_in_seconds is not None
    assert abs(found.next_due_in_seconds) < 60
    due.delete()
    assert waiting(connection, "default")[:2] == (1, later.execute_after)


@pytest.mark.django_db
def test_waking_nobody_asks_nothing(django_assert_num_queries):
    with django_assert_num_queries(0):
        wake(connection, [])
