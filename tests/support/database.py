"""The test database: its settings for other processes, and what PostgreSQL shows about it."""

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings

from django_partisan import migrations
from django_partisan.sql.connection import execute, open_connection

MIGRATIONS = sorted(path.stem for path in Path(migrations.__file__).parent.glob("0*.py"))
LATEST_MIGRATION = MIGRATIONS[-1]
ELSEWHERE = "elsewhere"


def this_database() -> dict[str, Any]:
    """Return the settings for connecting to the test database."""
    keys = ("ENGINE", "NAME", "USER", "PASSWORD", "HOST", "PORT", "OPTIONS")
    return {key: connection.settings_dict[key] for key in keys}


class ElsewhereRouter:
    """Route writes to another database than the default one."""

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return ELSEWHERE


@contextmanager
def database_elsewhere(alias: str = ELSEWHERE, router: object = None, **values: Any) -> Iterator[None]:
    """Add another database, with some settings changed; the default router stores the tasks there."""
    connections.settings[alias] = {**copy.deepcopy(connections.settings["default"]), **values}
    try:
        with override_settings(DATABASE_ROUTERS=[router or ElsewhereRouter()]):
            yield
    finally:
        connections[alias].close()
        del connections[alias]
        del connections.settings[alias]


class NoMigrations:
    """The value that ``pytest --nomigrations`` gives to ``MIGRATION_MODULES``."""

    def __contains__(self, app: str) -> bool:
        return True

    def __getitem__(self, app: str) -> None:
        return None


def empty(*tables: str) -> None:
    """Truncate tables and commit."""
    truncate(connection, used(connection, tables))


def used(session: BaseDatabaseWrapper, tables: Iterable[str]) -> list[str]:
    """Return the tables that have rows, or had rows that were deleted or rolled back."""
    with session.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
            " AND relkind = 'r' AND relname = ANY(%s) AND pg_relation_size(oid) > 0",
            [list(tables)],
        )
        return [name for (name,) in cursor.fetchall()]


def truncate(session: BaseDatabaseWrapper, tables: Iterable[str]) -> None:
    """Truncate tables, and the tables that refer to them; do nothing without tables."""
    if names := ", ".join(map(session.ops.quote_name, tables)):
        with session.cursor() as cursor:
            cursor.execute(f"TRUNCATE {names} CASCADE")


def first_value(statement: str) -> Any:
    """Return the first column of the first row that a statement returns."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()[0]


def lock_waits() -> int:
    """Return how many sessions of this database are waiting for a lock."""
    of_this_database = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    count: int = first_value(f"{of_this_database} AND wait_event_type = 'Lock'")
    return count


def is_asleep() -> bool:
    """Return whether every manager has marked itself as sleeping, so that it is notified."""
    return bool(first_value("SELECT bool_and(sleeping) FROM django_partisan_manager"))


def sessions() -> int:
    """Return how many connections managers and workers have."""
    return len(session_ids())


def session_ids() -> set[int]:
    """Return the backend process ids of the connections of managers and workers."""
    return set(
        first_value(
            "SELECT coalesce(array_agg(pid), '{}') FROM pg_stat_activity"
            " WHERE datname = current_database() AND starts_with(application_name, 'django_partisan')"
        )
    )


def sessions_of_others() -> list[str]:
    """Return the ``application_name`` of every other connection to this database, sorted."""
    return sorted(
        first_value(
            "SELECT coalesce(array_agg(application_name), '{}') FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND backend_type = 'client backend'"
        )
    )


@contextmanager
def open_transaction(*statements: str) -> Iterator[BaseDatabaseWrapper]:
    """Execute statements in another session, and leave its transaction open."""
    other = open_connection("other")
    other.set_autocommit(False)
    try:
        for statement in statements:
            execute(other, statement)
        yield other
    finally:
        if other.connection is not None:
            other.rollback()  # closing alone would leave the locks until the server notices
        other.close()


@contextmanager
def impatient_session(milliseconds: int) -> Iterator[BaseDatabaseWrapper]:
    """Yield a session with a statement timeout."""
    made = open_connection("impatient")
    execute(made, f"SET statement_timeout = {milliseconds}")
    try:
        yield made
    finally:
        made.close()
