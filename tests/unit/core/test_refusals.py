"""What libpq and PostgreSQL say at the start is told with what it means and with the remedy for that."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, OperationalError, ProgrammingError, connections

from django_partisan.sql.refusals import is_passing, refusal
from tests.support.engine import error_with

WAIT = "--wait-for-database SECONDS."
SERVER = 'connection to server at "::1", port 5432 failed: FATAL:  '


@pytest.mark.parametrize(
    ("error", "meaning", "end"),
    [
        (
            OperationalError("Connection refused\n\tIs the server\nrunning?"),
            "is out of reach: Connection",
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
        (OperationalError(SERVER + "sorry, too many clients already"), "has no connection left: ", WAIT),
        (
            OperationalError(SERVER + "the database system is starting up"),
            "accepts no connections yet: ",
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
            "denies the role a right: permission denied for table django_migrations. ",
            "the role that ran the migrations.",
        ),
        (error_with("42501"), "denies the role a right: 42501. ", "the role that ran the migrations."),
        (ImproperlyConfigured("No NAME."), "cannot be used: No NAME. ", "Correct DATABASES."),
    ],
)
def test_an_error_is_told_in_one_line_with_its_meaning_and_its_remedy(
    error: DatabaseError, meaning: str, end: str
):
    connection = connections.create_connection("default")
    connection.settings_dict = {**connection.settings_dict, "NAME": "shop", "HOST": "db", "PORT": 5432}

    said = str(refusal(connection, error))

    assert said.startswith(f"The database 'shop' at db:5432 {meaning}")
    assert said.endswith(end)
    assert "\n" not in said
    assert ".." not in said


def test_only_what_a_later_try_may_cure_is_tried_again():
    assert is_passing(OperationalError())
    assert not is_passing(ProgrammingError())
