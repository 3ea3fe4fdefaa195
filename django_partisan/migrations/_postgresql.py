"""Operations that change PostgreSQL only and keep to the schema of the tasks' table."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import Error, migrations, router

# Before the table is made, as for sqlmigrate, it is the schema in which it would be.
_SCHEMA = """
    SELECT coalesce((SELECT relnamespace FROM pg_class WHERE oid = to_regclass('django_partisan_task')),
                    current_schema()::regnamespace)::regnamespace::text
"""


class OnPostgreSQL(migrations.SeparateDatabaseAndState):
    """Run operations where the tasks are; on other databases change the state alone."""

    def __init__(self, operations: Any) -> None:
        super().__init__(operations, operations)

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Run the operations forwards."""
        if _has_tasks(schema_editor.connection, app_label):
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Run the operations backwards."""
        if _has_tasks(schema_editor.connection, app_label):
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class BuildIndex(AddIndexConcurrently):
    """Build an index of tasks while others read and write; wait at most five seconds for a lock.

    An interrupted build leaves an invalid index behind, so an index of this name is dropped first.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop what an interrupted build left, and build."""
        with _short_lock_waits(schema_editor.connection):
            _drop(schema_editor, self.index.name)
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the index."""
        with _short_lock_waits(schema_editor.connection):
            _drop(schema_editor, self.index.name)


class DropIndex(RemoveIndexConcurrently):
    """Drop an index of tasks in the same way; backwards, build it again."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the index."""
        with _short_lock_waits(schema_editor.connection):
            _drop(schema_editor, self.name)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop what an interrupted build left, and build."""
        with _short_lock_waits(schema_editor.connection):
            _drop(schema_editor, self.name)
            super().database_backwards(app_label, schema_editor, from_state, to_state)


def _drop(schema_editor: Any, name: str) -> None:
    """Name the index with its schema: the bare name may find the index of a later schema in search_path."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(_SCHEMA)
        [schema] = cursor.fetchone()
    schema_editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS {schema}."{name}"')


def _has_tasks(connection: Any, app_label: str) -> bool:
    return connection.vendor == "postgresql" and router.allow_migrate(
        connection.alias, app_label, model_name="task"
    )


@contextmanager
def _short_lock_waits(connection: Any) -> Iterator[None]:
    """Set ``lock_timeout`` for the session and restore it: a concurrent build cannot be in a transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('lock_timeout'), set_config('lock_timeout', '5s', false)")
        before, _ = cursor.fetchone()
    try:
        yield
    finally:
        # A lost connection has nothing to restore, and must not hide the error that lost it.
        with suppress(Error), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, false)", (before,))
