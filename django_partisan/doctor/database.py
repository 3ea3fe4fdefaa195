"""Check the tasks' database: the connection, writes, migrations, its clock, and live managers."""

import time
from collections.abc import Iterator
from typing import Final

from django.db import connections
from django.db.backends.postgresql.psycopg_any import is_psycopg3

from django_partisan.doctor.finding import ERROR, FINE, WARNING, Finding, Subject
from django_partisan.sql.backlog import server_version, waiting
from django_partisan.sql.connection import address_of, fetch_all, task_database
from django_partisan.sql.manager_rows import IS_ALIVE, SERVES
from django_partisan.sql.readiness import (
    call_with_connection,
    ensure_migrated,
    ensure_permitted,
    ensure_postgresql,
    missing_columns,
)

SKEW_WARNING_SECONDS: Final = 1.0
SKEW_ERROR_SECONDS: Final = 5.0  # the limit of the alert PartisanClockSkew

NAME_THE_PRIMARY: Final = (
    "Point DATABASES to the primary server, for example with several hosts and "
    "OPTIONS['target_session_attrs'] = 'read-write'."
)
LET_IT_WRITE: Final = "Set default_transaction_read_only to off for the server, the database or the role."

_WRITABLE: Final = "SELECT pg_is_in_recovery(), current_setting('transaction_read_only')"
_NOW: Final = "SELECT extract(epoch FROM clock_timestamp())::float8"
_ALIVE: Final = f"""
    SELECT host, pid FROM django_partisan_manager
     WHERE queue_name = %s AND {SERVES} AND {IS_ALIVE}
     ORDER BY host, pid
"""


def check(subject: Subject) -> Iterator[Finding]:
    """Connect, and query the version; raise ``CannotStart`` if that fails."""
    ensure_postgresql()
    connection = connections[task_database()]
    version = call_with_connection(server_version)
    driver = "psycopg 3" if is_psycopg3 else "psycopg2"
    yield Finding(FINE, f"{address_of(connection)} answers: PostgreSQL {version}, through {driver}.")


def check_writes(subject: Subject) -> Iterator[Finding]:
    """Check whether the server is a standby, or read-only."""
    connection = connections[task_database()]
    yield judge_writes(*fetch_all(connection, _WRITABLE)[0])


def judge_writes(is_standby: bool, read_only: str) -> Finding:
    """Return the finding for a server that is a standby, or whose transactions are read-only, or neither."""
    if is_standby:
        return Finding(ERROR, "PostgreSQL is a standby, which accepts no writes.", NAME_THE_PRIMARY)
    if read_only == "on":
        return Finding(ERROR, "PostgreSQL is set to be read-only.", LET_IT_WRITE)
    return Finding(FINE, "PostgreSQL accepts writes.")


def check_migrations(subject: Subject) -> Iterator[Finding]:
    """Compare the tables with the migrations of the installed version.

    Raises ``CannotStart`` if migrations or permissions are missing.
    """
    connection = connections[task_database()]
    latest = ensure_migrated(connection)
    ensure_permitted(connection)
    if latest is None:
        yield Finding(
            FINE, "No migration is recorded, but all tables exist: they were created without migrations."
        )
    elif missing := missing_columns(connection):
        text = f"All migrations are recorded, up to {latest}, but these are missing: {', '.join(missing)}."
        yield Finding(ERROR, text, "Undo the change that renamed or dropped them.")
    else:
        yield Finding(FINE, f"All migrations are applied, up to {latest}.")


def check_clock(subject: Subject) -> Iterator[Finding]:
    """Compare the database's time with this host's time, halfway through the query."""
    connection = connections[task_database()]
    fetch_all(connection, _NOW)  # so that the measurement does not include connecting
    before = time.time()
    theirs = fetch_all(connection, _NOW)[0][0]
    after = time.time()
    yield judge_skew(theirs - (before + after) / 2, (after - before) / 2)


def judge_skew(skew: float, uncertainty: float) -> Finding:
    """Return the finding for a clock skew in seconds, measured to within ``uncertainty`` seconds."""
    size = abs(skew)
    way = "ahead of" if skew > 0 else "behind"
    message = f"The database's clock is {size:.3f} s {way} this host's (within {uncertainty:.3f} s)."
    if size - uncertainty <= SKEW_WARNING_SECONDS:
        return Finding(FINE, message)
    status = ERROR if size - uncertainty > SKEW_ERROR_SECONDS else WARNING
    return Finding(status, message, "Synchronize both hosts with NTP (chrony or systemd-timesyncd).")


def check_managers(subject: Subject) -> Iterator[Finding]:
    """List the managers whose lease has not expired."""
    connection = connections[task_database()]
    alive = fetch_all(connection, _ALIVE, (subject.queue,))
    tasks = waiting(connection, subject.queue).number
    wait = f"{tasks} tasks wait" if tasks != 1 else "1 task waits"
    if alive:
        listed = ", ".join(f"{host}:{pid}" for host, pid in alive)
        yield Finding(FINE, f"The queue {subject.queue!r} is served by {listed}; {wait}.")
    else:
        yield Finding(
            WARNING,
            f"No manager serves the queue {subject.queue!r}; {wait}.",
            f"Run: manage.py start_partisan --queue-name {subject.queue}",
        )
