"""Execute the statements of a manager's connections without the layers of Django's cursors.

A manager executes a claim for every few tasks, and Django's layers take longer than the driver does. Execute
wrappers, the translation of errors and the check of the transaction are kept. What is left out is the log of
queries and the check that the current thread may use the connection.
"""

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper


class DriverCursor:
    """A cursor of the driver that raises Django's errors. Used like Django's, in a ``with`` block."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        """Open the cursor; ``connection`` must be open."""
        self._connection = connection
        with connection.wrap_database_errors:
            self._cursor = connection.create_cursor()

    def __enter__(self) -> "DriverCursor":
        return self

    def __exit__(self, *error: Any) -> None:
        with suppress(Error), self._connection.wrap_database_errors:  # the connection may be lost
            self._cursor.close()

    def execute(self, sql: str, params: Any = None) -> Any:
        """Execute a statement, through the connection's execute wrappers."""
        execute: Callable[..., Any] = self._execute
        for wrapper in reversed(self._connection.execute_wrappers):
            execute = partial(wrapper, execute)
        return execute(sql, params, False, {"connection": self._connection, "cursor": self})

    def fetchone(self) -> Any:
        """Return the next row, or ``None``."""
        with self._connection.wrap_database_errors:
            return self._cursor.fetchone()

    def fetchall(self) -> Any:
        """Return the remaining rows."""
        with self._connection.wrap_database_errors:
            return self._cursor.fetchall()

    def nextset(self) -> Any:  # pragma: no cover: psycopg 3
        """Go to the result of the message's next statement; return whether there is one (psycopg 3)."""
        with self._connection.wrap_database_errors:
            return self._cursor.nextset()

    def _execute(self, sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        self._connection.validate_no_broken_transaction()
        with self._connection.wrap_database_errors:
            return self._cursor.execute(sql) if params is None else self._cursor.execute(sql, params)
