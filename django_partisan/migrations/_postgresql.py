"""Operations that change only PostgreSQL, and only the schema of the tasks' table.

A bare name in ``DROP`` may find an object in a later schema of ``search_path``, so the operations here
qualify every name that they drop or create.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import Error, migrations, router
from django.db.migrations.operations.base import Operation

POSTGRESQL_ONLY: Final = {"required_db_vendor": "postgresql"}
"""Options of a model: Django makes and changes its table in databases of this vendor only."""

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


class CreateSequence(Operation):
    """Create a sequence of bigint in the schema of the tasks."""

    def __init__(self, name: str) -> None:
        self.name = name

    def state_forwards(self, app_label: str, state: Any) -> None:
        """Leave the state as it is: models have no sequences."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Create the sequence."""
        schema_editor.execute(f"CREATE SEQUENCE {_schema(schema_editor)}.{self.name} AS bigint")

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the sequence."""
        schema_editor.execute(f"DROP SEQUENCE {_schema(schema_editor)}.{self.name}")


class BuildIndex(AddIndexConcurrently):
    """Build an index of tasks while others read and write.

    An interrupted build leaves an invalid index behind, so an index of this name is dropped first.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop what an interrupted build left, and build."""
        _drop_index(schema_editor, self.index.name)
        super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the index."""
        _drop_index(schema_editor, self.index.name)


class BuildIndexSoon(BuildIndex):
    """Build an index as ``BuildIndex`` does; wait at most five seconds for a lock."""

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop what an interrupted build left, and build."""
        with _short_lock_waits(schema_editor.connection):
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the index."""
        with _short_lock_waits(schema_editor.connection):
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class DropIndex(RemoveIndexConcurrently):
    """Drop an index of tasks while others read and write; backwards, build it again.

    It waits at most five seconds for a lock.
    """

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the index."""
        with _short_lock_waits(schema_editor.connection):
            _drop_index(schema_editor, self.name)

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop what an interrupted build left, and build."""
        with _short_lock_waits(schema_editor.connection):
            _drop_index(schema_editor, self.name)
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class BuildUniqueConstraint(migrations.AddConstraint):
    """Build the index that is a constraint with a condition while others read and write.

    Django has no concurrent way to add a constraint.
    """

    atomic = False

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop what an interrupted build left, and build."""
        _drop_index(schema_editor, self.constraint.name)
        model = to_state.apps.get_model(app_label, self.model_name)
        create = str(self.constraint.create_sql(model, schema_editor))
        schema_editor.execute(create.replace("CREATE UNIQUE INDEX", "CREATE UNIQUE INDEX CONCURRENTLY", 1))

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Drop the index."""
        _drop_index(schema_editor, self.constraint.name)


def _has_tasks(connection: Any, app_label: str) -> bool:
    return connection.vendor == "postgresql" and router.allow_migrate(
        connection.alias, app_label, model_name="task"
    )


def _drop_index(schema_editor: Any, name: str) -> None:
    schema_editor.execute(f'DROP INDEX CONCURRENTLY IF EXISTS {_schema(schema_editor)}."{name}"')


def _schema(schema_editor: Any) -> str:
    """Return the quoted name of the schema of the tasks' table."""
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(_SCHEMA)
        [schema] = cursor.fetchone()
    return str(schema)


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
