"""Django's ``flush``, which ends every test that commits, at a tenth of its cost."""

from typing import Any, Final

from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.commands import flush
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

MADE_BY_MIGRATE: Final = (ContentType._meta.db_table, Permission._meta.db_table)
"""Tables whose rows Django deletes and makes again."""


class Command(flush.Command):
    """Empty only the tables that have rows, and leave alone those rows that ``migrate`` makes."""

    def handle(self, **options: Any) -> None:
        """Leave what Django's own would leave."""
        connection = connections[options["database"]]
        if connection.vendor != "postgresql" or options["interactive"]:
            super().handle(**options)
            return
        if used := _used_tables(connection).difference(MADE_BY_MIGRATE):
            names = ", ".join(map(connection.ops.quote_name, sorted(used)))
            with connection.cursor() as cursor:
                cursor.execute(f"TRUNCATE {names} CASCADE")
        if not _is_as_migrated(connection):
            super().handle(**options)


def _used_tables(connection: BaseDatabaseWrapper) -> set[str]:
    """Return the tables of models that have rows, or had some that were deleted or rolled back."""
    tables = connection.introspection.django_table_names()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
            " AND relkind = 'r' AND relname = ANY(%s) AND pg_relation_size(oid) > 0",
            [tables],
        )
        return {name for (name,) in cursor.fetchall()}


def _is_as_migrated(connection: BaseDatabaseWrapper) -> bool:
    """Return whether every model has its content type and permissions, and nothing else has one."""
    options = [model._meta for model in apps.get_models()]
    permissions = sum(len(one.default_permissions) + len(one.permissions) for one in options)
    with connection.cursor() as cursor:
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in MADE_BY_MIGRATE)
        cursor.execute(f"SELECT {counts}")
        return bool(cursor.fetchone() == (len(options), permissions))
