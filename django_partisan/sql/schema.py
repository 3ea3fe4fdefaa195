"""In which schema the tasks are, and how a statement keeps to it.

A pooler in transaction mode gives a statement any of its server connections, and another client may have
left a ``search_path`` in that one. A manager that claimed from one schema and settled in another would lose
tasks, so the statements of our own connections name the schema of every table. ``start_partisan`` finds it
out once, for all connections of the manager.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

# ``none`` where the tables cannot be seen.
SCHEMA_OF_TASKS: Final = (
    "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('django_partisan_task')"
    " UNION ALL SELECT 'none' LIMIT 1"
)
# Names in double quotes are Django's, as in its look at the columns of a table.
_TABLE: Final = re.compile(
    r'(?<![\w."])(?=django_partisan_(?:task|manager|cancel_request|pause|schedule|chore|slot)\b)'
)
STATEMENTS_REMEMBERED: Final = 256


@lru_cache(STATEMENTS_REMEMBERED)
def qualified(sql: str, schema: str, has_parameters: bool) -> str:
    """Return a statement with ``schema``, which is quoted for SQL, before the name of each of our tables."""
    if has_parameters:
        schema = schema.replace("%", "%%")  # it would begin a placeholder
    return _TABLE.sub(lambda _: f"{schema}.", sql)


class KeptSchema:
    """Execute each statement in ``schema``, or if it is empty, where the first one finds the tasks.

    It is an execute wrapper for one connection, also after it connects again. What is executed while it
    connects stays as it is: a receiver of Django's may choose the schema then.
    """

    def __init__(self, schema: str = "") -> None:
        self._schema = schema
        self._is_connecting = False

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Leave statements as they are for the length of a ``with`` block."""
        self._is_connecting = True
        try:
            yield
        finally:
            self._is_connecting = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Execute a statement."""
        if self._is_connecting:
            return execute(sql, params, many, context)
        if not self._schema:
            execute(SCHEMA_OF_TASKS, None, False, context)
            [schema] = context["cursor"].fetchone()
            if schema == "none":  # there may be none yet
                return execute(sql, params, many, context)
            self._schema = schema
        return execute(qualified(sql, self._schema, params is not None), params, many, context)
