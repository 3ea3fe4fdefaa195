"""Managers and workers use only the schema of the tasks that they serve, whatever ``search_path`` is set."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import connection
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_partisan import registry
from django_partisan.engine.judge import RunResult
from django_partisan.engine.manager import startup
from django_partisan.engine.worker.executor import Executor
from django_partisan.exceptions import CannotStart
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.backlog import waiting
from django_partisan.sql.claiming import ATTEMPTS
from django_partisan.sql.connection import execute, fetch_all, has_ended, open_connection
from django_partisan.sql.readiness import schema_of_tasks
from django_partisan.sql.session import Session
from tests.db.engine.database_thread_harness import close
from tests.support.engine import config_of
from tests.support.rows import claimed, insert, statuses
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("own_registry")]

ELSEWHERE = 'SET search_path = "100% elsewhere"'


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """A schema with another task table."""
    execute(connection, 'CREATE SCHEMA "100% elsewhere"')
    execute(
        connection,
        'CREATE TABLE "100% elsewhere".django_partisan_task (LIKE public.django_partisan_task INCLUDING ALL)',
    )
    yield
    execute(connection, "SET search_path TO DEFAULT")
    execute(connection, 'DROP SCHEMA "100% elsewhere" CASCADE')


class Wandering(BaseTaskProcessor):
    ATOMIC = True

    def run(self) -> None:
        execute(connection, ELSEWHERE)


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(("delete", "attempts"), [(False, 0), (False, 1), (True, 0)])
def test_an_atomic_run_that_leaves_the_schema_is_settled_where_its_row_is(delete, attempts):
    registry.register(Wandering)
    [row] = claimed(processor="Wandering")
    row = (*row[:ATTEMPTS], attempts, *row[ATTEMPTS + 1 :])
    executor = Executor(
        config_of(delete_tasks_on_complete=delete), 0, 1, {}, schema=schema_of_tasks(connection)
    )
    executor.started = time.monotonic()

    result = executor.execute(row)

    execute(connection, "SET search_path TO DEFAULT")
    assert result == RunResult(is_settled=True)
    assert list(statuses().values()) == ([] if delete else ["finished"])


@pytest.mark.usefixtures("elsewhere")
def test_a_connection_of_ours_stays_in_the_schema_in_which_it_began():
    insert()
    with closing(open_connection("test")) as ours:
        before = waiting(ours, "default").number
        # As with a pooler: another client left its path in the server's session.
        ours.connection.cursor().execute(ELSEWHERE)

        assert (before, waiting(ours, "default").number) == (1, 1)
        assert fetch_all(ours, "SELECT count(*) FROM django_partisan_task") == [(1,)]


@pytest.mark.usefixtures("elsewhere")
def test_a_session_of_a_manager_goes_on_in_its_schema_after_it_connects_again():
    insert()
    session = Session("test", 5.0)
    session.open()
    close(session)
    session.connection.settings_dict["OPTIONS"]["options"] = "-c search_path=elsewhere"
    session.open()
    try:
        assert waiting(session.connection, "default").number == 1
    finally:
        session.close()


@pytest.mark.usefixtures("elsewhere")
def test_a_schema_that_a_receiver_chooses_as_a_connection_opens_is_the_one_that_is_kept():
    def choose(connection: BaseDatabaseWrapper, **_: Any) -> None:
        with connection.cursor() as cursor:
            cursor.execute(ELSEWHERE)

    insert()
    connection_created.connect(choose)
    try:
        with closing(open_connection("test")) as ours:
            assert waiting(ours, "default").number == 0
            assert schema_of_tasks(ours) == '"100% elsewhere"'
    finally:
        connection_created.disconnect(choose)


@pytest.mark.usefixtures("elsewhere")
def test_a_connection_that_is_given_a_schema_keeps_to_it_whatever_it_finds():
    insert()
    with closing(open_connection("test", schema='"100% elsewhere"')) as ours:
        assert waiting(ours, "default").number == 0


def test_where_there_is_no_schema_yet_it_is_looked_for_again():
    with closing(open_connection("test")) as ours:
        execute(ours, "SET search_path = nowhere")
        execute(ours, "SET search_path TO DEFAULT")

        assert waiting(ours, "default").number == 0


def test_an_empty_search_path_is_kept_too():
    with closing(open_connection("test")) as ours:
        ours.settings_dict["OPTIONS"]["options"] = "-c search_path="

        assert fetch_all(ours, "SELECT current_schema()") == [(None,)]


@pytest.mark.usefixtures("elsewhere")
def test_a_schema_of_this_connection_alone_is_refused_because_workers_would_not_serve_it():
    served = startup.ensure_database()
    execute(connection, ELSEWHERE)

    with pytest.raises(CannotStart, match=r'schema "100% elsewhere", .* find them in public'):
        startup.ensure_schema(served)


def test_a_connection_that_is_not_open_is_not_opened_to_ask_for_its_schema():
    served = startup.ensure_database()
    connection.close()

    startup.ensure_schema(served)

    assert connection.connection is None


@pytest.mark.usefixtures("elsewhere")
def test_a_connection_that_will_turn_to_its_schema_when_it_opens_is_refused(monkeypatch: pytest.MonkeyPatch):
    """Like a connection of django-tenants after ``set_schema()``."""
    served = startup.ensure_database()
    connection.close()
    monkeypatch.setattr(connection, "schema_name", "100% elsewhere", raising=False)
    monkeypatch.setattr(connection, "init_connection_state", lambda: execute(connection, ELSEWHERE))

    with pytest.raises(CannotStart, match=r'schema "100% elsewhere"'):
        startup.ensure_schema(served)


def test_a_session_of_this_connection_that_has_ended_is_refused_in_one_line():
    served = startup.ensure_database()
    [(pid,)] = fetch_all(connection, "SELECT pg_backend_pid()")
    with closing(open_connection("test")) as ours:
        execute(ours, "SELECT pg_terminate_backend(%s)", (pid,))
    wait_until(lambda: has_ended(connection.connection))

    with pytest.raises(CannotStart, match=r"^The database .* ended the connection during the start"):
        startup.ensure_schema(served)
    connection.close()
