"""Keep the statements of a connection in the schema of the tasks.

A pooler in transaction mode gives a statement any of its server connections, and another client may have
left a ``search_path`` in it. A manager that claimed from one schema and settled in another would lose
tasks, so the statements of the library's own connections name the schema of every table.
"""

import re
from functools import lru_cache
from typing import Any, Final

# ``none`` if the tables are not found.
SCHEMA_OF_TASKS: Final = (
    "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('django_partisan_task')"
    " UNION ALL SELECT 'none' LIMIT 1"
)
# Names in double quotes are Django's, as when it reads the columns of a table.
_TABLE: Final = re.compile(
    r'(?<![\w."])(?=django_partisan_(?:task|manager|cancel_request|pause|schedule|chore|slot)\b)'
)
STATEMENTS_REMEMBERED: Final = 256


@lru_cache(STATEMENTS_REMEMBERED)
def qualified(sql: str, schema: str, has_parameters: bool) -> str:
    """Return a statement with ``schema``, quoted for SQL, before the name of each table of the library."""
    if has_parameters:
        schema = schema.replace("%", "%%")  # it would begin a placeholder
    return _TABLE.sub(lambda _: f"{schema}.", sql)


class KeptSchema:
    """Execute each statement in the schema where the first one finds the tasks.

    This is an execute wrapper for one connection, and stays when it connects again.
    """

    def __init__(self) -> None:
        self._schema = ""

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Execute a statement."""
        if not self._schema:
            execute(SCHEMA_OF_TASKS, None, False, context)
            [schema] = context["cursor"].fetchone()
            if schema == "none":  # before the migrations, for example
                return execute(sql, params, many, context)
            self._schema = schema
        return execute(qualified(sql, self._schema, params is not None), params, many, context)
