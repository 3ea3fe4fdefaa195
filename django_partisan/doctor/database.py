"""Is the tasks' database PostgreSQL, and does it answer?"""

from collections.abc import Iterator
from typing import Final

from django.db import connections
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from django_partisan.doctor.finding import FINE, Finding
from django_partisan.doctor.subject import Subject
from django_partisan.sql.backlog import server_version
from django_partisan.sql.connection import address_of, task_database
from django_partisan.sql.readiness import ensure_postgresql, ensure_reachable

NAME: Final = "database"


def look(subject: Subject) -> Iterator[Finding]:
    """Connect, and ask for the version."""
    ensure_postgresql()
    ensure_reachable()
    connection = connections[task_database()]
    version = server_version(connection).split()[0]
    driver = "psycopg 3" if is_psycopg3 else "psycopg2"
    yield Finding(NAME, FINE, f"{address_of(connection)} answers: PostgreSQL {version}, by {driver}.")
