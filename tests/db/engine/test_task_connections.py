"""Nothing is left in real connections between two tasks."""

import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.db.backends.sqlite3 import base as sqlite3
from django.test import override_settings

from django_partisan.engine.worker import connection_state
from django_partisan.engine.worker.connections import TaskConnections
from django_partisan.exceptions import TaskTimeout
from django_partisan.sql.connection import execute, fetch_all, has_ended
from tests.app.models import Note
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def persistent() -> Iterator[None]:
    """Keep connections open until they are closed explicitly."""
    connection.close()
    connection.settings_dict["CONN_MAX_AGE"] = None
    yield
    connection.close()
    connection.settings_dict["AUTOCOMMIT"] = True
    connection.settings_dict["CONN_MAX_AGE"] = 0


@pytest.fixture
def task_connections(persistent: None) -> Iterator[TaskConnections]:
    """Watch the connection of this thread, as a worker's main thread does."""
    made = TaskConnections()
    yield made
    made.close()


@pytest.fixture
def resetting(persistent: None) -> Iterator[TaskConnections]:
    """Watch the connection with ``RESET_SESSION``."""
    made = TaskConnections(reset_session=True)
    yield made
    made.close()


@pytest.fixture
def other() -> Iterator[BaseDatabaseWrapper]:
    """Another client of the same server."""
    made = connections.create_connection("default")
    made.settings_dict = {**made.settings_dict, "NAME": connection.settings_dict["NAME"]}
    made.connect()
    yield made
    made.close()


def backend(of: BaseDatabaseWrapper = connection) -> int:
    pid: int = fetch_all(of, "SELECT pg_backend_pid()")[0][0]
    return pid


def end(pid: int, other: BaseDatabaseWrapper) -> None:
    """End a session from the server's side, and wait until it has ended."""
    execute(other, "SELECT pg_terminate_backend(%s)", (pid,))
    wait_until(lambda: not fetch_all(other, "SELECT FROM pg_stat_activity WHERE pid = %s", (pid,)))


def test_without_connections_there_is_nothing_to_do(task_connections):
    task_connections.before_chunk()

    assert task_connections.opened == []
    assert task_connections.after_run() == []


def test_a_connection_whose_set_up_was_interrupted_is_discarded(persistent: None):
    def interrupt(**_: Any) -> None:
        raise TaskTimeout

    connection_created.connect(interrupt)  # runs before the worker's receiver
    try:
        with closing(TaskConnections()) as made:
            with pytest.raises(TaskTimeout):
                connection.ensure_connection()
            left = connection.connection

            made.discard()
    finally:
        connection_created.disconnect(interrupt)

    assert left.closed
    assert connection.connection is None
    assert backend()


def test_a_well_behaved_connection_stays_open(task_connections):
    first = backend()

    assert task_connections.after_run() == []
    assert backend() == first


@pytest.mark.parametrize("autocommit", [True, False], ids=["atomic block", "autocommit off"])
def test_a_transaction_left_open_is_named_and_rolled_back_and_the_next_run_commits(
    autocommit, task_connections
):
    if autocommit:
        transaction.atomic().__enter__()
    else:
        connection.set_autocommit(False)
    Note.objects.create(text="left open")

    assert task_connections.after_run() == ["default"]
    assert task_connections.after_run() == []
    assert not connection.in_atomic_block
    assert connection.get_autocommit()
    assert not Note.objects.exists()
    with transaction.atomic():
        Note.objects.create(text="well done")
    assert Note.objects.count() == 1


def test_autocommit_switched_off_and_not_used_is_restored(task_connections):
    connection.ensure_connection()
    connection.set_autocommit(False)

    assert task_connections.after_run() == []
    assert connection.get_autocommit()


def test_a_database_that_is_set_up_without_autocommit_stays_so(task_connections):
    connection.settings_dict["AUTOCOMMIT"] = False
    first = backend()
    connection.rollback()

    assert task_connections.after_run() == []
    assert not connection.get_autocommit()
    assert backend() == first
    connection.rollback()


def test_a_connection_that_died_while_autocommit_was_off_is_no_error_of_the_worker(task_connections, other):
    connection.ensure_connection()
    connection.set_autocommit(False)
    end(backend(), other)
    with pytest.raises(Exception, match=r"terminat|closed"):
        backend()

    assert task_connections.after_run() == []
    assert backend() > 0


def test_queries_are_forgotten_after_each_run(task_connections):
    with override_settings(DEBUG=True):
        backend()
        assert connection.queries
        task_connections.after_run()

    assert connection.queries == []


@pytest.mark.parametrize(
    "leave", [connection.close, lambda: transaction.atomic().__enter__()], ids=["closed", "open"]
)
def test_queries_are_forgotten_however_a_run_leaves_its_connection(leave, task_connections):
    with override_settings(DEBUG=True):
        backend()
        leave()
        task_connections.after_run()

    assert connection.queries == []


def test_a_connection_on_which_a_run_had_an_error_is_dropped_if_it_is_dead(task_connections, other):
    end(backend(), other)
    with pytest.raises(Exception, match=r"terminat|closed"):
        backend()
    task_connections.after_run()

    assert connection.connection is None
    assert backend() > 0


def test_a_connection_that_is_closed_is_passed_over(task_connections):
    backend()
    connection.close()

    assert task_connections.after_run() == []
    task_connections.before_chunk()
    assert task_connections.opened == []


def test_a_connection_that_the_server_ended_is_dropped_before_the_next_chunk(task_connections, other):
    backend()
    connection.close_at = None
    end(backend(), other)
    wait_until(lambda: has_ended(connection.connection))
    task_connections.before_chunk()

    assert connection.connection is None
    assert backend() > 0


def test_a_connection_closed_behind_djangos_back_is_dropped_before_the_next_chunk(task_connections):
    backend()
    connection.connection.close()
    task_connections.before_chunk()

    assert connection.connection is None
    assert backend() > 0


@pytest.mark.parametrize(("age", "kept"), [(0, False), (60, True), (None, True)])
def test_a_connection_is_kept_from_run_to_run_as_conn_max_age_says(age, kept, task_connections):
    connection.settings_dict["CONN_MAX_AGE"] = age
    first = backend()
    task_connections.after_run()

    assert (connection.connection is not None) is kept
    assert (backend() == first) is kept


def test_a_connection_that_has_become_too_old_is_dropped_before_the_next_chunk(task_connections):
    backend()
    connection.close_at = 0.0
    task_connections.before_chunk()

    assert connection.connection is None


def leave_session_state() -> None:
    """Create state that DISCARD ALL removes: settings, locks and temporary tables of the session."""
    execute(
        connection, "SET search_path = nowhere; SET statement_timeout = 60000; SET TIME ZONE 'Asia/Tokyo'"
    )
    execute(connection, "SELECT pg_advisory_lock(11)")
    execute(connection, "CREATE TEMPORARY TABLE left_behind ()")


def session_state() -> tuple[Any, ...]:
    state: tuple[Any, ...] = fetch_all(
        connection,
        "SELECT current_setting('search_path'), current_setting('statement_timeout'),"
        " to_regclass('left_behind'),"
        " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
    )[0]
    return state


def test_with_reset_session_nothing_that_a_run_set_in_its_session_reaches_the_next(resetting):
    first, fresh = backend(), session_state()
    leave_session_state()
    assert session_state() != fresh
    with override_settings(DEBUG=True):
        assert resetting.after_run() == []

    assert connection.queries == []
    assert session_state() == fresh
    assert fetch_all(connection, "SHOW TIME ZONE") == [("UTC",)]
    assert backend() == first


def test_with_reset_session_a_connection_is_set_up_again_by_those_who_set_up_new_ones(resetting):
    def set_up(connection: BaseDatabaseWrapper, **_: Any) -> None:
        execute(connection, "SET search_path = ours")

    connection_created.connect(set_up)
    try:
        backend()
        execute(connection, "SET search_path = nowhere")
        resetting.after_run()
    finally:
        connection_created.disconnect(set_up)

    assert fetch_all(connection, "SHOW search_path") == [("ours",)]


@pytest.mark.parametrize("how", ["dead", "without autocommit"])
def test_with_reset_session_a_connection_that_cannot_be_reset_is_replaced(how, resetting, other):
    connection.settings_dict["AUTOCOMMIT"] = how == "dead"
    first = backend()
    if how == "dead":
        end(first, other)
    else:
        connection.rollback()
    resetting.after_run()

    assert connection.connection is None
    assert backend() != first
    connection.rollback()


def test_to_reset_a_connection_of_a_pool_it_is_closed_before_the_pool_gets_it_back():
    steps: list[str] = []

    class Pooled(Other):
        vendor = "postgresql"
        pool = "a pool"

        def _close(self) -> None:
            steps.append("returned")

    pooled: Any = Pooled(Raw(close=lambda: steps.append("closed")))
    connection_state.reset_session(pooled)

    assert steps == ["closed", "returned"]
    assert pooled.connection is None


def test_reset_session_passes_over_connections_to_other_databases(resetting, tmp_path):
    options = {**connection.settings_dict, "NAME": tmp_path / "lite", "OPTIONS": {}}
    with closing(sqlite3.DatabaseWrapper(options)) as lite:
        execute(lite, "CREATE TEMPORARY TABLE kept (number int)")
        resetting.after_run()

        execute(lite, "INSERT INTO kept VALUES (1)")
        assert lite.connection is not None


def test_a_connection_that_was_dropped_is_watched_again_when_it_is_opened_again(task_connections):
    backend()
    connection.close()
    task_connections.before_chunk()
    backend()
    backend()

    assert task_connections.opened == [connection]


def test_each_runner_has_the_connections_of_its_own_thread(task_connections):
    opened: list[int] = []

    def use() -> None:
        of_this_thread = TaskConnections()
        backend(connections["default"])
        opened.append(len(of_this_thread.opened))
        of_this_thread.close()

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()

    assert opened == [1]
    assert task_connections.opened == []


def test_in_the_end_every_connection_is_closed(task_connections):
    backend()
    task_connections.close()

    assert connection.connection is None


class Raw:
    """A connection of another driver."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Other:
    """A connection to another kind of database."""

    in_atomic_block = False

    def __init__(self, raw: Any) -> None:
        self.connection = raw


@pytest.mark.parametrize(
    ("raw", "is_open"),
    [
        (Raw(pgconn=Raw(transaction_status=2)), True),
        (Raw(pgconn=Raw(transaction_status=0)), False),
        (Raw(), False),
    ],
    ids=["psycopg 3 in a transaction", "psycopg 3 idle", "another driver"],
)
def test_each_driver_is_asked_for_an_open_transaction_in_its_own_way(raw, is_open):
    other: Any = Other(raw)

    assert connection_state.has_open_transaction(other) is is_open


def test_a_driver_without_a_descriptor_has_nothing_to_read():
    assert not has_ended(Raw())


def test_a_query_is_cancelled_from_another_thread(other: BaseDatabaseWrapper):
    errors: list[Exception] = []

    def wait() -> None:
        try:
            fetch_all(other, "SELECT pg_sleep(3600)")
        except OperationalError as error:
            errors.append(error)

    other.inc_thread_sharing()
    thread = threading.Thread(target=wait)
    before = connection_state.is_active(other)
    thread.start()
    wait_until(lambda: connection_state.is_active(other))

    def is_over() -> bool:
        connection_state.cancel_query(other.connection)  # a cancel before the query has begun has no effect
        thread.join(0.1)
        return not thread.is_alive()

    wait_until(is_over)

    assert not before
    assert "user request" in str(errors)
    assert fetch_all(other, "SELECT 1") == [(1,)]


def test_a_connection_that_is_being_closed_has_no_query_to_cancel(other: BaseDatabaseWrapper):
    raw = other.connection
    raw.close()

    connection_state.cancel_query(raw)

    assert not connection_state.is_active(other)


def test_psycopg_3_is_given_a_time_in_which_to_cancel():
    asked: list[float] = []

    class Raw:
        def cancel_safe(self, *, timeout: float) -> None:
            asked.append(timeout)

    connection_state.cancel_query(Raw())

    assert asked == [connection_state.CANCEL_TIMEOUT_SECONDS]


def test_what_an_interrupted_run_used_is_closed(task_connections: TaskConnections):
    backend = fetch_all(connection, "SELECT pg_backend_pid()")
    raw = connection.connection

    task_connections.discard()
    task_connections.discard()

    assert raw.closed
    assert fetch_all(connection, "SELECT pg_backend_pid()") != backend
