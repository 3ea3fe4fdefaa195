"""Is the tasks' database PostgreSQL, and does it answer?"""

from collections.abc import Iterator
from typing import Final

from django.db import OperationalError, connections
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from django_partisan.doctor.finding import ERROR, FINE, Finding
from django_partisan.doctor.subject import Subject
from django_partisan.exceptions import CannotStart
from django_partisan.sql.backlog import server_version
from django_partisan.sql.connection import address_of, demand_postgresql, task_database

NAME: Final = "database"


def look(subject: Subject) -> Iterator[Finding]:
    """Connect, and ask for the version."""
    try:
        demand_postgresql()
    except CannotStart as error:
        yield Finding(NAME, ERROR, str(error))
        return
    connection = connections[task_database()]
    try:
        version = server_version(connection).split()[0]
    except OperationalError as error:
        reason = " ".join(str(error).split())  # libpq writes several lines, the cause first
        yield Finding(
            NAME,
            ERROR,
            f"The database {address_of(connection)} is out of reach: {reason}",
            "Start it, or correct DATABASES.",
        )
        return
    driver = "psycopg 3" if is_psycopg3 else "psycopg2"
    yield Finding(NAME, FINE, f"{address_of(connection)} answers: PostgreSQL {version}, by {driver}.")
