"""Django's ``flush``, which ends every test that commits, at a tenth of its cost."""

from typing import Any, Final

from django.apps import apps
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.commands import flush
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.support.database import truncate, used

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
        tables = set(connection.introspection.django_table_names()).difference(MADE_BY_MIGRATE)
        truncate(connection, used(connection, tables))
        if not _is_as_migrated(connection):
            super().handle(**options)


def _is_as_migrated(connection: BaseDatabaseWrapper) -> bool:
    """Return whether every model has its content type and permissions, and nothing else has one."""
    options = [model._meta for model in apps.get_models()]
    permissions = sum(len(one.default_permissions) + len(one.permissions) for one in options)
    with connection.cursor() as cursor:
        counts = ", ".join(f"(SELECT count(*) FROM {table})" for table in MADE_BY_MIGRATE)
        cursor.execute(f"SELECT {counts}")
        return bool(cursor.fetchone() == (len(options), permissions))
