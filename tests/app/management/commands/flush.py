"""A ``flush`` command at a tenth of the cost of Django's; every test that commits ends with a flush."""

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

from django.apps import apps
from django.contrib.auth import get_permission_codename
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.management.commands import flush
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from tests.support.database import truncate, used

MADE_BY_MIGRATE: Final = (ContentType._meta.db_table, Permission._meta.db_table)
"""Tables whose rows ``migrate`` creates; Django's ``flush`` deletes and recreates them."""
ROWS_MADE_BY_MIGRATE: Final = f"""
    SELECT app_label, model, codename
      FROM {ContentType._meta.db_table} AS type
      LEFT JOIN {Permission._meta.db_table} AS permission ON permission.content_type_id = type.id
"""

Row: TypeAlias = tuple[str, str | None, str | None]
"""App label and model of a content type, and the codename of one of its permissions, or ``None``."""


class Command(flush.Command):
    """Truncate only the tables that have rows, and keep the rows that ``migrate`` creates."""

    def handle(self, **options: Any) -> None:
        """Flush to the same state as Django's own command."""
        connection = connections[options["database"]]
        if connection.vendor != "postgresql" or not _is_of_a_test(options):
            super().handle(**options)
            return
        tables = set(connection.introspection.django_table_names()).difference(MADE_BY_MIGRATE)
        truncate(connection, used(connection, tables))
        if not _is_as_migrated(connection):
            super().handle(**options)


def _is_of_a_test(options: dict[str, Any]) -> bool:
    """Return whether a Django test case calls, which keeps sequences and what ``migrate`` created."""
    return not (
        options["interactive"]
        or options.get("reset_sequences", True)
        or options.get("inhibit_post_migrate", False)
    )


def _is_as_migrated(connection: BaseDatabaseWrapper) -> bool:
    """Return whether the content types and permissions are exactly those that ``migrate`` creates."""
    with connection.cursor() as cursor:
        cursor.execute(ROWS_MADE_BY_MIGRATE)
        return set(cursor.fetchall()) == set(_made_by_migrate())


def _made_by_migrate() -> Iterator[Row]:
    for options in (model._meta for model in apps.get_models()):
        codenames = [get_permission_codename(action, options) for action in options.default_permissions]
        codenames += [codename for codename, _ in options.permissions]
        if not codenames:
            yield options.app_label, options.model_name, None
        for codename in codenames:
            yield options.app_label, options.model_name, codename
