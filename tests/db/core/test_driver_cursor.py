"""The cursor of a manager's connections does what Django's does, apart from the log and the thread check."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import Error, OperationalError, ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.transaction import TransactionManagementError

from django_partisan.sql.connection import fetch_all, open_connection
from django_partisan.sql.driver_cursor import DriverCursor

pytestmark = pytest.mark.django_db(transaction=True)

END_OWN = "SELECT pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
def own() -> Iterator[BaseDatabaseWrapper]:
    connection = open_connection("test")
    connection.ensure_connection()
    yield connection
    connection.close()


def test_it_executes_with_and_without_parameters_and_returns_rows(own: BaseDatabaseWrapper):
    with DriverCursor(own) as cursor:
        cursor.execute("SELECT 'a%' UNION ALL SELECT 'b' ORDER BY 1")
        assert (cursor.fetchone(), cursor.fetchall()) == (("a%",), [("b",)])
        cursor.execute("SELECT %s || '%%'", ("a",))
        assert cursor.fetchall() == [("a%",)]


def test_times_are_in_the_time_zone_of_the_connection_as_with_djangos_cursor(own: BaseDatabaseWrapper):
    now = "SELECT '2026-03-29 00:30:00+00'::timestamptz"
    [[expected]] = fetch_all(own, now)

    with DriverCursor(own) as cursor:
        cursor.execute(now)
        [[found]] = cursor.fetchall()

    assert (found, found.utcoffset()) == (expected, expected.utcoffset())


def test_its_errors_are_djangos_and_the_connection_notes_them(own: BaseDatabaseWrapper):
    with DriverCursor(own) as cursor:
        with pytest.raises(ProgrammingError, match="no_such_table"):
            cursor.execute("SELECT * FROM no_such_table")
        with pytest.raises(ProgrammingError):
            cursor.fetchall()

    assert own.errors_occurred


def test_it_closes_although_the_connection_was_lost(own: BaseDatabaseWrapper):
    with DriverCursor(own) as cursor:
        with pytest.raises(OperationalError):
            cursor.execute(END_OWN)
        with pytest.raises(Error):
            cursor.execute("SELECT 1")


def test_the_connections_wrappers_see_each_statement_the_last_one_innermost(own: BaseDatabaseWrapper):
    seen: list[str] = []

    def wrapper(name: str) -> Any:
        def wrap(execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
            seen.append(f"{name} {sql} {params} {many}")
            assert context["connection"] is own
            return execute(sql + f" -- {name}", params, many, context)

        return wrap

    own.execute_wrappers[:] = [wrapper("outer"), wrapper("inner")]
    with DriverCursor(own) as cursor:
        cursor.execute("SELECT %s", (1,))
        assert cursor.fetchall() == [(1,)]

    assert seen == ["outer SELECT %s (1,) False", "inner SELECT %s -- outer (1,) False"]


def test_a_broken_transaction_refuses_statements(own: BaseDatabaseWrapper):
    own.in_atomic_block = own.needs_rollback = True

    with DriverCursor(own) as cursor, pytest.raises(TransactionManagementError):
        cursor.execute("SELECT 1")

    own.in_atomic_block = own.needs_rollback = False
