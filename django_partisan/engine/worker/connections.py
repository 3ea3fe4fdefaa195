"""Clean a runner's database connections, so that a task leaves nothing behind for the next one.

Language, time zone and other context variables need no cleaning: each run has its own context, which is
dropped with it.

Django's connections belong to threads, so a ``TaskConnections`` records those that its own thread opens.
"""

import threading
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_partisan.engine.worker.connection_state import discard, drop, has_open_transaction, reset_session
from django_partisan.sql.connection import has_ended


class TaskConnections:
    """The connections that tasks open in this thread; costs nothing while there are none.

    With ``reset_session``, sessions are reset after each run.
    """

    def __init__(self, reset_session: bool = False) -> None:
        self.opened: list[BaseDatabaseWrapper] = []
        self._reset_session = reset_session
        self._thread = threading.get_ident()
        connection_created.connect(self._note)

    def after_run(self) -> list[str]:
        """Clean every connection; return the names of the databases on which a transaction was left open."""
        left_open = []
        for connection in self.opened:
            if connection.connection is not None:
                if has_open_transaction(connection):
                    left_open.append(connection.alias)
                    drop(connection)
                else:
                    self._clean(connection)
            connection.queries_log.clear()  # filled if DEBUG is True
        return left_open

    def discard(self) -> None:
        """Close every connection, whatever state an interrupted run left it in.

        This includes connections that were not recorded because their set-up was interrupted.
        """
        for connection in {*self.opened, *connections.all(initialized_only=True)}:
            discard(connection)

    def before_chunk(self) -> None:
        """Drop connections that are dead or older than ``CONN_MAX_AGE``."""
        self.opened = [connection for connection in self.opened if connection.connection is not None]
        for connection in self.opened:
            if has_ended(connection.connection) and not connection.is_usable():
                drop(connection)
            else:
                connection.close_if_unusable_or_obsolete()

    def close(self) -> None:
        """Close every connection, and stop recording new ones."""
        connection_created.disconnect(self._note)
        for connection in self.opened:
            connection.close()

    def _clean(self, connection: BaseDatabaseWrapper) -> None:
        is_autocommit = connection.settings_dict["AUTOCOMMIT"]
        if connection.get_autocommit() != is_autocommit:
            drop(connection)  # unlike changing the mode, this works on a dead connection too
            return
        connection.close_if_unusable_or_obsolete()
        if self._reset_session and connection.connection is not None:
            if is_autocommit:
                reset_session(connection)
            else:
                drop(connection)  # DISCARD ALL fails inside a transaction, which any statement begins

    def _note(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        if threading.get_ident() == self._thread and connection not in self.opened:
            self.opened.append(connection)
