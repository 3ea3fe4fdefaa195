"""Check that the tasks' database is ready for a manager: PostgreSQL, reachable, migrated, and permitted.

``start_partisan``, ``partisan_doctor`` and the system checks use this module. Each check raises
``CannotStart`` with the problem and the remedy.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Final, TypeVar

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from django_partisan.config.problems import NOT_POSTGRESQL
from django_partisan.exceptions import CannotStart
from django_partisan.sql.columns import fields_with_column
from django_partisan.sql.connection import (
    ANSWER_SECONDS,
    fetch_all,
    not_postgresql,
    open_connection,
    task_database,
)
from django_partisan.sql.refusals import APP, command_to_migrate, is_temporary, refusal
from django_partisan.sql.schema import SCHEMA_OF_TASKS
from django_partisan.sql.session import ANSWER_SECONDS_MIN

T = TypeVar("T")

RETRY_SECONDS: Final = 0.5

_MISSING_RIGHTS: Final = """
    SELECT current_user, string_agg(privilege || ' on ' || name, ', ')
      FROM (VALUES ('django_partisan_task', 'SELECT'), ('django_partisan_task', 'UPDATE'),
                   ('django_partisan_manager', 'SELECT'), ('django_partisan_manager', 'INSERT'),
                   ('django_partisan_manager', 'UPDATE'), ('django_partisan_manager', 'DELETE'),
                   ('django_partisan_pause', 'SELECT'),
                   ('django_partisan_cancel_request', 'SELECT'), ('django_partisan_cancel_request', 'UPDATE'),
                   ('django_partisan_cancel_request', 'DELETE'),
                   ('django_partisan_chore', 'SELECT'), ('django_partisan_chore', 'INSERT'),
                   ('django_partisan_chore', 'UPDATE'),
                   ('django_partisan_schedule', 'SELECT'), ('django_partisan_schedule', 'INSERT'),
                   ('django_partisan_schedule', 'UPDATE'), ('django_partisan_schedule', 'DELETE')
           ) AS needed (name, privilege)
     WHERE NOT has_table_privilege(name, privilege)
"""
"""The privileges that every manager needs; ``DELETE_TASKS_ON_COMPLETE`` also needs DELETE on tasks."""
_USABLE_SCHEMAS: Final = (
    "SELECT current_user, current_setting('search_path'), cardinality(current_schemas(false))"
)


def ensure_postgresql() -> None:
    """Raise ``CannotStart`` unless the tasks' database is PostgreSQL."""
    connection = connections[task_database()]
    if connection.vendor != "postgresql":
        raise CannotStart(not_postgresql(connection), NOT_POSTGRESQL.hint)


def call_with_connection(question: Callable[[BaseDatabaseWrapper], T], wait_seconds: float = 0.0) -> T:
    """Return the result of ``question``, called with a connection to the tasks' database.

    While the database is unavailable, tries again for ``wait_seconds``. One attempt to connect takes at most
    ten seconds, even if the host does not answer.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        seconds = min(ANSWER_SECONDS, max(deadline - time.monotonic(), ANSWER_SECONDS_MIN))
        connection = open_connection("start", seconds if wait_seconds else ANSWER_SECONDS)
        try:
            with closing(connection):
                connection.ensure_connection()
                return question(connection)
        except (Error, ImproperlyConfigured) as error:
            if not is_temporary(error) or time.monotonic() >= deadline:
                raise refusal(connection, error) from error
        time.sleep(RETRY_SECONDS)


def ensure_migrated(connection: BaseDatabaseWrapper) -> str | None:
    """Return the latest migration; raise ``CannotStart`` if one is missing in the tasks' database.

    Return ``None`` if the migrations are disabled or none is recorded, and every table has its columns: tests
    can create their database without migrations, with ``MIGRATION_MODULES`` or ``TEST["MIGRATE"]``.
    """
    with _in_use(connection):
        executor = MigrationExecutor(connection)
    is_recorded = any(app == APP for app, _ in executor.loader.applied_migrations)
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == APP]
    if not (is_recorded and targets):
        incomplete = missing_columns(connection)
        if not incomplete:
            return None
        if not targets:
            raise CannotStart(
                f"Tables or columns of {APP} are missing: {', '.join(incomplete)}.",
                f"MIGRATION_MODULES disables its migrations: enable them, and run: manage.py migrate {APP}",
            )
    missing = [migration.name for migration, _ in executor.migration_plan(targets)]
    if missing:
        _ensure_schema(connection)
        raise CannotStart(
            f"Migrations of {APP} are missing: {', '.join(missing)}.",
            f"Run: {command_to_migrate(connection)}",
        )
    return str(targets[0][1])


def schema_of_tasks(connection: BaseDatabaseWrapper) -> str:
    """Return the schema, quoted for SQL, in which a connection finds the tasks."""
    [(schema,)] = fetch_all(connection, SCHEMA_OF_TASKS)
    return str(schema)


def ensure_permitted(connection: BaseDatabaseWrapper) -> None:
    """Raise ``CannotStart`` if the role lacks a privilege that every manager needs."""
    [(role, missing)] = fetch_all(connection, _MISSING_RIGHTS)
    if missing:
        raise CannotStart(
            f"The role {role!r} lacks privileges in the tasks' database: {missing}.",
            "GRANT them to it, or use the role that ran the migrations.",
        )


@contextmanager
def _in_use(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Make Django use a connection for its alias in this thread, to read its record of migrations."""
    alias = connection.alias
    before = connections[alias]
    connections[alias] = connection
    try:
        yield
    finally:
        connections[alias] = before


def _ensure_schema(connection: BaseDatabaseWrapper) -> None:
    """Raise ``CannotStart`` if the role cannot use any schema: then it finds no table, migrated or not."""
    [(role, path, usable)] = fetch_all(connection, _USABLE_SCHEMAS)
    if not usable:
        raise CannotStart(
            f"The role {role!r} cannot use any schema in its search_path ({path}).",
            "GRANT it USAGE on the schema of the tasks' tables, or correct its search_path.",
        )


def missing_columns(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the missing columns, with the names of their tables, and the missing tables."""
    missing = []
    existing = connection.introspection.table_names()
    with connection.cursor() as cursor:
        for model in apps.get_app_config(APP).get_models():
            table = model._meta.db_table
            if table not in existing:
                missing.append(table)
                continue
            found = {one.name for one in connection.introspection.get_table_description(cursor, table)}
            columns = [field.column for field in fields_with_column(model) if field.column]
            missing += [f"{table}.{name}" for name in columns if name not in found]
    return missing
