"""Is the tasks' database ready for a manager: PostgreSQL, reachable and migrated?

``start_partisan``, ``partisan_doctor`` and the system checks ask here. Each function raises
``CannotStart`` with the problem and its cure.
"""

import time
from contextlib import closing
from typing import Final

from django.apps import apps
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor

from django_partisan.config.problems import NOT_POSTGRESQL
from django_partisan.exceptions import CannotStart
from django_partisan.sql.connection import (
    ANSWER_SECONDS,
    address_of,
    fetch_all,
    not_postgresql,
    open_connection,
    task_database,
)
from django_partisan.sql.session import ANSWER_SECONDS_MIN

APP: Final = "django_partisan"
RETRY_SECONDS: Final = 0.5

_SCHEMA: Final = (
    "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('django_partisan_task')"
    " UNION ALL SELECT 'none' LIMIT 1"
)


def ensure_postgresql() -> None:
    """Raise ``CannotStart`` unless the tasks' database is PostgreSQL."""
    connection = connections[task_database()]
    if connection.vendor != "postgresql":
        raise CannotStart(not_postgresql(connection), NOT_POSTGRESQL.hint)


def ensure_reachable(wait_seconds: float = 0.0) -> None:
    """Raise ``CannotStart`` if the tasks' database cannot be reached within ``wait_seconds``.

    One try takes at most ten seconds, also where nothing is refused and nothing is answered.
    """
    deadline = time.monotonic() + wait_seconds
    while True:
        seconds = min(ANSWER_SECONDS, max(deadline - time.monotonic(), ANSWER_SECONDS_MIN))
        connection = open_connection("start", seconds if wait_seconds else ANSWER_SECONDS)
        try:
            with closing(connection):
                return connection.ensure_connection()
        except OperationalError as error:
            if time.monotonic() >= deadline:
                reason = " ".join(str(error).split())  # libpq writes several lines, the cause first
                raise CannotStart(
                    f"The database {address_of(connection)} is out of reach: {reason}",
                    "Start it, correct DATABASES, or wait for it with --wait-for-database SECONDS.",
                ) from error
        time.sleep(RETRY_SECONDS)


def ensure_migrated() -> str | None:
    """Return the latest migration; raise ``CannotStart`` if the tasks' database misses any.

    Return ``None`` if ours are disabled, or none is recorded, and every table has its columns: tests may make
    their database without migrations, by ``MIGRATION_MODULES`` or ``TEST["MIGRATE"]``.
    """
    connection = connections[task_database()]
    executor = MigrationExecutor(connection)
    is_recorded = any(app == APP for app, _ in executor.loader.applied_migrations)
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == APP]
    if not (is_recorded and targets):
        incomplete = _incomplete_tables(connection)
        if not incomplete:
            return None
        if not targets:
            raise CannotStart(
                f"Tables of {APP} are missing or lack columns: {', '.join(incomplete)}.",
                f"MIGRATION_MODULES disables its migrations: enable them, and run: manage.py migrate {APP}",
            )
    missing = [migration.name for migration, _ in executor.migration_plan(targets)]
    if missing:
        option = "" if connection.alias == DEFAULT_DB_ALIAS else f" --database {connection.alias}"
        raise CannotStart(
            f"Migrations of {APP} are missing: {', '.join(missing)}.",
            f"Run: manage.py migrate {APP}{option}",
        )
    return str(targets[0][1])


def schema_of_tasks() -> str:
    """Return the schema, quoted for SQL, in which new connections find the tasks.

    Raises ``CannotStart`` if this thread's connection finds them in another one: the connections of managers
    and workers begin as the settings say, and would serve that schema.
    """
    with closing(open_connection("start")) as connection:
        [(schema,)] = fetch_all(connection, _SCHEMA)
    [(here,)] = fetch_all(connections[task_database()], _SCHEMA)
    if schema != here:
        raise CannotStart(
            f"This connection finds the tasks in schema {here}, but new connections find them in {schema}.",
            "Set search_path in the OPTIONS of DATABASES, in settings of its own for each schema's manager.",
        )
    return str(schema)


def _incomplete_tables(connection: BaseDatabaseWrapper) -> list[str]:
    """Return the tables of ours that are not there, or lack a column."""
    incomplete = []
    existing = connection.introspection.table_names()
    with connection.cursor() as cursor:
        for model in apps.get_app_config(APP).get_models():
            table = model._meta.db_table
            columns = {field.column for field in model._meta.concrete_fields if field.column}
            if table not in existing or columns.difference(
                column.name for column in connection.introspection.get_table_description(cursor, table)
            ):
                incomplete.append(table)
    return incomplete
