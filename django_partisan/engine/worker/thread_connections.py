"""Clean up connections that tasks open in other threads, such as those of a thread pool.

Django gives each thread its own connections, which only that thread uses. Between two tasks, depending on the
thread and its connection:

| thread, connection | is |
|---|---|
| ended | closed |
| alive, inside a transaction | reported, once |
| alive, idle and broken | checked by Django, and renewed, when its thread uses it next |

| who writes | what |
|---|---|
| the thread that connects | appends to ``noted`` |
| the thread that executes | adds to ``_writers`` |
| the runner | removes from both; closes what ended threads have left |
"""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, Final

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_partisan.engine.worker.connection_state import drop, is_inside_transaction
from django_partisan.sql.connection import has_ended, task_database

_READS: Final = ("SELECT", "WITH", "SHOW", "SET", "FETCH", "EXPLAIN", "SAVEPOINT", "RELEASE", "ROLLBACK")
_runners: Final[set[int]] = set()
"""The threads that run tasks; ``TaskConnections`` handles their connections."""


class ThreadConnection:
    """A connection and the thread that opened it."""

    __slots__ = ("connection", "is_reported", "thread")

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection
        self.thread = threading.current_thread()
        self.is_reported = False
        """True if its open transaction has been reported."""


class ThreadConnections:
    """Track the connections of other threads; costs nothing while there are none."""

    def __init__(self) -> None:
        self.noted: list[ThreadConnection] = []
        self._writers: set[str] = set()
        self._database = task_database()
        self._runner = threading.get_ident()
        _runners.add(self._runner)
        connection_created.connect(self._note)

    def after_run(self) -> list[tuple[str, str]]:
        """Close, mark or report connections; return database and thread of each newly open transaction."""
        self.close_ended()
        left_open = []
        for one in self.noted:
            connection = one.connection
            connection.queries_log.clear()  # filled if DEBUG is True
            was_reported, one.is_reported = one.is_reported, False
            if connection.connection is None:
                continue
            if is_inside_transaction(connection):
                one.is_reported = True
                if not was_reported:
                    left_open.append((connection.alias, one.thread.name))
            elif connection.errors_occurred or has_ended(connection.connection):
                # It may be in use by now, with a result to read; then Django checks it unnecessarily.
                connection.errors_occurred = False
                vars(connection).update(health_check_enabled=True, health_check_done=False)
        return left_open

    def take_writers(self) -> set[str]:
        """Return the names of the threads that wrote to the tasks' database since the last call."""
        writers, self._writers = self._writers, set()
        return writers

    def close_ended(self) -> None:
        """Close the connections of threads that have ended."""
        for one in [one for one in self.noted if not one.thread.is_alive()]:
            self.noted.remove(one)
            drop(one.connection)

    def close(self) -> None:
        """Close the connections of threads that have ended, and stop tracking."""
        connection_created.disconnect(self._note)
        _runners.discard(self._runner)
        self.close_ended()
        for one in self.noted:
            with contextlib.suppress(ValueError):  # a task may have cleared the list
                one.connection.execute_wrappers.remove(self._watch)

    def _note(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        """Track a connection, in the thread that opens it, unless it is one of ours or already tracked."""
        if threading.get_ident() in _runners:
            return
        if all(one is not connection for one in connections.all(initialized_only=True)):
            return  # its alias may be missing from the settings
        if any(one.connection is connection for one in self.noted):
            return
        # First: execute_wrapper() removes the last one at its end, and the connection may open inside it.
        connection.execute_wrappers.insert(0, self._watch)
        self.noted.append(ThreadConnection(connection))

    def _watch(
        self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        """Record that this thread writes to the tasks' database, and execute the statement."""
        is_read = str(sql)[:40].lstrip(" (\n").upper().startswith(_READS)
        if not is_read and context["connection"].alias == self._database:
            self._writers.add(threading.current_thread().name)
        return execute(sql, params, many, context)
