"""Check that every index of the tables exists and is valid."""

from collections.abc import Iterator
from typing import Any, Final

from django.apps import apps
from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.doctor.finding import ERROR, FINE, Finding, Subject
from django_partisan.sql.connection import fetch_all, task_database
from django_partisan.sql.refusals import APP

# By table, because another schema in search_path may have indexes with the same names.
_VALID: Final = """
    SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
     WHERE indrelid = to_regclass(%s)
"""


def check(subject: Subject) -> Iterator[Finding]:
    """Compare the indexes and constraints that the models declare with those of the tables."""
    connection = connections[task_database()]
    expected = 0
    broken = []
    for model in apps.get_app_config(APP).get_models():
        valid = dict(fetch_all(connection, _VALID, (model._meta.db_table,)))
        declared: list[Any] = [*model._meta.indexes, *model._meta.constraints]
        expected += len(declared)
        broken += [(model, one, one.name in valid) for one in declared if not valid.get(one.name)]
    for model, one, is_there in broken:
        said = "is invalid: its build was interrupted" if is_there else "does not exist"
        remedy = f"DROP INDEX CONCURRENTLY {one.name}; " if is_there else ""
        remedy += _statement(connection, model, one)
        yield Finding(
            ERROR, f"The index {one.name} of {model._meta.db_table} {said}.", f"Run this SQL: {remedy}"
        )
    if not broken:
        yield Finding(FINE, f"All {expected} indexes and constraints exist.")


def _statement(
    connection: BaseDatabaseWrapper, model: type[models.Model], declared: models.Index | Any
) -> str:
    """Return the statement that creates an index or constraint, concurrently if possible."""
    with connection.schema_editor(collect_sql=True, atomic=False) as editor:
        if isinstance(declared, models.Index):
            editor.add_index(model, declared, concurrently=True)  # type: ignore[call-arg]  # PostgreSQL's
        else:
            editor.add_constraint(model, declared)
    return " ".join(editor.collected_sql).replace("CREATE UNIQUE INDEX", "CREATE UNIQUE INDEX CONCURRENTLY")
