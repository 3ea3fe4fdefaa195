"""Keep a connection of the library in the schema in which it began.

A pooler in transaction mode gives a statement any of its server connections, and another client may have
left a ``search_path`` in it. A manager that claimed from one schema and settled in another would lose tasks,
so every statement sets its path.
"""

from typing import Any, Final

from django.db.backends.postgresql.psycopg_any import is_psycopg3

_EMPTY: Final = "''"
_PATH: Final = "SELECT current_setting('search_path')"


class KeptSearchPath:
    """Execute each statement under the ``search_path`` of the first one.

    This is an execute wrapper for one connection. The path is set in the same message as the statement and
    for its transaction only, so it costs no round trip and does not stay in the session.
    """

    def __init__(self) -> None:
        self._set_path = ""

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        """Execute a statement."""
        if not self._set_path:
            self._learn(execute, context)
        # A % in a name would be a placeholder, but only if there are parameters.
        set_path = self._set_path if params is None else self._set_path.replace("%", "%%")
        result = execute(set_path + sql, params, many, context)
        _skip_to_last_result(context["cursor"])
        return result

    def _learn(self, execute: Any, context: dict[str, Any]) -> None:
        execute(_PATH, None, False, context)
        _skip_to_last_result(context["cursor"])
        [path] = context["cursor"].fetchone()
        self._set_path = f"SET LOCAL search_path = {path or _EMPTY}; "


def _skip_to_last_result(cursor: Any) -> None:
    while is_psycopg3 and cursor.nextset():
        pass  # pragma: no cover: psycopg 3; psycopg2 has kept the last result only
