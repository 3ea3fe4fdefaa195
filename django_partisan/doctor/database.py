"""Is the tasks' database PostgreSQL, does it answer, and is it migrated?"""

from collections.abc import Iterator

from django.db import connections
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from django_partisan.doctor.finding import FINE, Finding
from django_partisan.doctor.subject import Subject
from django_partisan.sql.backlog import server_version
from django_partisan.sql.connection import address_of, task_database
from django_partisan.sql.readiness import ensure_migrated, ensure_postgresql, ensure_reachable


def look(subject: Subject) -> Iterator[Finding]:
    """Connect, and ask for the version; raises ``CannotStart``."""
    ensure_postgresql()
    ensure_reachable()
    connection = connections[task_database()]
    version = server_version(connection).split()[0]
    driver = "psycopg 3" if is_psycopg3 else "psycopg2"
    yield Finding(FINE, f"{address_of(connection)} answers: PostgreSQL {version}, by {driver}.")


def look_at_migrations(subject: Subject) -> Iterator[Finding]:
    """Compare the tables with the migrations of the installed version; raises ``CannotStart``."""
    yield Finding(FINE, f"All are applied, up to {ensure_migrated()}.")
