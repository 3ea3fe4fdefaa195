"""A runner's database connections: between two tasks, nothing of the first is left behind in them.

Language, time zone and every other context variable need no care here: each run has a context of
its own, which is dropped with it.

Django's connections belong to threads, so a ``TaskConnections`` notes those that its own thread opens.
"""

import contextlib
import threading
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_partisan.sql.connection import has_ended

# libpq's PQTRANS_IDLE and PQTRANS_UNKNOWN (the connection is lost), the same numbers in both drivers.
_NO_TRANSACTION = (0, 4)


class TaskConnections:
    """The connections that tasks open in this thread; costs nothing while there is none."""

    def __init__(self) -> None:
        self.opened: list[BaseDatabaseWrapper] = []
        self._thread = threading.get_ident()
        connection_created.connect(self._note)

    def after_run(self) -> list[str]:
        """Clean every connection; return the names of databases on which a transaction was open."""
        left_open = []
        for connection in self.opened:
            if connection.connection is None:
                continue
            if _has_open_transaction(connection):
                left_open.append(connection.alias)
                _reset(connection)
                continue
            if connection.get_autocommit() != connection.settings_dict["AUTOCOMMIT"]:
                _reset(connection)  # works on a dead one too, unlike a change of its mode
                continue
            connection.queries_log.clear()
            if connection.errors_occurred:
                connection.close_if_unusable_or_obsolete()
        return left_open

    def before_chunk(self) -> None:
        """Drop connections that are dead or older than ``CONN_MAX_AGE``."""
        self.opened = [connection for connection in self.opened if connection.connection is not None]
        for connection in self.opened:
            if has_ended(connection.connection) and not connection.is_usable():
                _reset(connection)
            else:
                connection.close_if_unusable_or_obsolete()

    def close(self) -> None:
        """Close every connection, and note no more."""
        connection_created.disconnect(self._note)
        for connection in self.opened:
            connection.close()

    def _note(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        if threading.get_ident() == self._thread and connection not in self.opened:
            self.opened.append(connection)


def _has_open_transaction(connection: BaseDatabaseWrapper) -> bool:
    if connection.in_atomic_block:
        return True
    raw = connection.connection
    if hasattr(raw, "pgconn"):
        return raw.pgconn.transaction_status not in _NO_TRANSACTION
    return hasattr(raw, "get_transaction_status") and raw.get_transaction_status() not in _NO_TRANSACTION


def _reset(connection: BaseDatabaseWrapper) -> None:
    """Close the server's end, which rolls back, and have Django connect again when needed.

    ``close()`` inside an atomic block would leave the block's state behind; ``connect()`` clears it.
    """
    with contextlib.suppress(Exception):  # the driver's own errors: it is dead already
        connection._close()  # type: ignore[attr-defined]  # a pooled one goes back, and is rolled back
    connection.connection = None
    connection.closed_in_transaction = False
    connection.in_atomic_block = False
    connection.run_on_commit = []
