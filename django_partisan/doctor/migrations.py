"""Are the migrations of this application applied?"""

from collections.abc import Iterator
from typing import Final

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.migrations.executor import MigrationExecutor

from django_partisan.doctor.finding import ERROR, FINE, Finding
from django_partisan.doctor.subject import Subject
from django_partisan.sql.connection import task_database

NAME: Final = "migrations"
APP: Final = "django_partisan"


def look(subject: Subject) -> Iterator[Finding]:
    """Compare the tables with the migrations of the installed version."""
    alias = task_database()
    executor = MigrationExecutor(connections[alias])
    targets = [key for key in executor.loader.graph.leaf_nodes() if key[0] == APP]
    missing = [migration.name for migration, _ in executor.migration_plan(targets)]
    if not missing:
        yield Finding(NAME, FINE, f"All are applied, up to {targets[0][1]}.")
        return
    option = "" if alias == DEFAULT_DB_ALIAS else f" --database {alias}"
    yield Finding(NAME, ERROR, f"Missing: {', '.join(missing)}.", f"Run: manage.py migrate {APP}{option}")
