"""Start-up errors of libpq and PostgreSQL are explained, each with its remedy."""

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, DataError, OperationalError, ProgrammingError, connections

from django_partisan.sql.refusals import APP, is_temporary, refusal, refusal_of_command
from tests.support.engine import error_with

LIMITS = "statement_timeout and lock_timeout."
WHEN_IT_ACCEPTS = "Try again when the server accepts connections."
WAIT = "--wait-for-database SECONDS."
SERVER = 'connection to server at "::1", port 5432 failed: FATAL:  '


def shop() -> Any:
    """Return a connection that is never opened."""
    connection = connections.create_connection("default")
    connection.settings_dict = {**connection.settings_dict, "NAME": "shop", "HOST": "db", "PORT": 5432}
    return connection


@pytest.mark.parametrize(
    ("error", "meaning", "end"),
    [
        (
            OperationalError("Connection refused\n\tIs the server\nrunning?"),
            "cannot be reached: Connection",
            WAIT,
        ),
        (
            OperationalError(SERVER + 'database "shop" does not exist\n'),
            "does not exist: connection",
            'database "shop" does not exist. Create it, or correct NAME and HOST in DATABASES.',
        ),
        (
            OperationalError(SERVER + 'password authentication failed for user "shop"'),
            "refuses the login: ",
            "Correct USER and PASSWORD in DATABASES, or allow the role in pg_hba.conf.",
        ),
        (OperationalError(SERVER + 'role "shop" does not exist'), "refuses the login: ", "pg_hba.conf."),
        (OperationalError(SERVER + "sorry, too many clients already"), "has no free connection: ", WAIT),
        (
            OperationalError(SERVER + "the database system is starting up"),
            "does not accept connections yet: ",
            WAIT,
        ),
        (
            ProgrammingError('invalid dsn: invalid connection option "nonsense"'),
            "cannot be reached with these settings: ",
            "Correct DATABASES, or the environment variables PG*.",
        ),
        (
            OperationalError("server closed the connection unexpectedly"),
            "ended the connection during the start: ",
            WAIT,
        ),
        (
            OperationalError("canceling statement due to statement timeout"),
            "cancelled a check at the start: ",
            "statement_timeout and lock_timeout.",
        ),
        (
            ProgrammingError("permission denied for table django_migrations"),
            "denies the role a privilege: permission denied for table django_migrations. ",
            "the role that ran the migrations.",
        ),
        (error_with("42501"), "denies the role a privilege: 42501. ", "the role that ran the migrations."),
        (ImproperlyConfigured("No NAME."), "cannot be used: No NAME. ", "Correct DATABASES."),
    ],
)
def test_an_error_is_told_in_one_line_with_its_meaning_and_its_remedy(
    error: DatabaseError, meaning: str, end: str
):
    said = str(refusal(shop(), error))

    assert said.startswith(f"The database 'shop' at db:5432 {meaning}")
    assert said.endswith(end)
    assert "\n" not in said
    assert ".." not in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OperationalError("Connection refused\n\tIs the server\nrunning?"),
            "cannot be reached: Connection refused Is the server running? Start it, or correct DATABASES.",
        ),
        (
            OperationalError("server closed the connection unexpectedly\n"),
            "ended the connection: server closed the connection unexpectedly. Try again.",
        ),
        (
            OperationalError("canceling statement"),
            "cancelled a statement: canceling statement. Try again, or raise the role's " + LIMITS,
        ),
        (
            error_with("42P01"),
            "lacks a table, column or function of this version: 42P01. Run: manage.py migrate " + APP,
        ),
        (error_with("25006"), "does not accept writes: 25006. Name the primary server in DATABASES."),
        (
            DataError("out of range"),
            "refused a statement: out of range. Run the command with --traceback to see which.",
        ),
        (
            OperationalError("the database system is starting up"),
            "does not accept connections yet: the database system is starting up. " + WHEN_IT_ACCEPTS,
        ),
    ],
)
def test_a_command_says_in_one_line_what_the_error_means_and_what_to_do(error: DatabaseError, said: str):
    assert refusal_of_command(shop(), error) == f"The database 'shop' at db:5432 {said}"


def test_the_tables_of_another_database_are_made_there():
    connection = shop()
    connection.alias = "tasks"

    said = refusal_of_command(connection, error_with("42P01"))

    assert said.endswith(" Run: manage.py migrate django_partisan --database tasks")


def test_only_what_a_later_try_may_cure_is_tried_again():
    assert is_temporary(OperationalError())
    assert not is_temporary(ProgrammingError())
