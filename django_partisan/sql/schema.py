"""Keep the statements of a connection in the schema of the tasks.

A pooler in transaction mode executes a statement on any of its server connections, and another client may
have left a ``search_path`` in it. A manager that claimed from one schema and settled in another would lose
tasks, so the statements of the library's own connections name the schema of every table. ``start_partisan``
finds it once, for all connections of the manager.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

from django_partisan.sql.preparable import Preparable

# Returns ``none`` if the tables are not found.
SCHEMA_OF_TASKS: Final = (
    "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('django_partisan_task')"
    " UNION ALL SELECT 'none' LIMIT 1"
)
# Names in double quotes come from Django, for example when it reads the columns of a table.
_TABLE: Final = re.compile(
    r'(?<![\w."])(?=django_partisan_(?:task|manager|cancel_request|pause|schedule|chore|slot)\b)'
)
STATEMENTS_REMEMBERED: Final = 256


@lru_cache(STATEMENTS_REMEMBERED, typed=True)
def qualified(sql: str, schema: str, has_parameters: bool) -> str:
    """Return a statement with ``schema``, quoted for SQL, before the name of each table of the library."""
    if has_parameters:
        schema = schema.replace("%", "%%")  # a single % would begin a placeholder

    def change(part: str) -> str:
        return _TABLE.sub(lambda _: f"{schema}.", part)

    return sql.changed(change) if isinstance(sql, Preparable) else change(sql)


class SchemaResolver:
    """Execute each statement in ``schema`` or, if it is empty, where the first statement finds the tasks.

    This is an execute wrapper for one connection, and remains in use when it connects again. Statements that
    are executed while it connects are not changed, because a receiver of a Django signal may choose the
    schema at that time.
    """

    def __init__(self, schema: str = "") -> None:
        self._schema = schema
        self._is_connecting = False

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Leave statements unchanged within a ``with`` block."""
        self._is_connecting = True
        try:
            yield
        finally:
            self._is_connecting = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Execute a statement in the schema."""
        if self._is_connecting:
            return execute(sql, params, many, context)
        if not self._schema:
            execute(SCHEMA_OF_TASKS, None, False, context)
            [schema] = context["cursor"].fetchone()
            if schema == "none":  # before the migrations, for example
                return execute(sql, params, many, context)
            self._schema = schema
        return execute(qualified(sql, self._schema, params is not None), params, many, context)
