"""A runner's database connections: between two tasks, nothing of the first is left behind in them.

Language, time zone and every other context variable need no care here: each run has a context of
its own, which is dropped with it.

Django's connections belong to threads, so a ``TaskConnections`` notes those that its own thread opens.
"""

import threading
from typing import Any

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_partisan.engine.worker.connection_state import discard, drop, has_open_transaction, reset_session
from django_partisan.sql.connection import has_ended


class TaskConnections:
    """The connections that tasks open in this thread; costs nothing while there is none.

    With ``reset_session`` the sessions are reset after each run.
    """

    def __init__(self, reset_session: bool = False) -> None:
        self.opened: list[BaseDatabaseWrapper] = []
        self._reset_session = reset_session
        self._thread = threading.get_ident()
        connection_created.connect(self._note)

    def after_run(self) -> list[str]:
        """Clean every connection; return the names of databases on which a transaction was open."""
        left_open = []
        for connection in self.opened:
            if connection.connection is not None:
                if has_open_transaction(connection):
                    left_open.append(connection.alias)
                    drop(connection)
                else:
                    self._clean(connection)
            connection.queries_log.clear()  # which DEBUG fills
        return left_open

    def discard(self) -> None:
        """Close every connection, with whatever an interrupted run has left in it.

        One whose set-up was interrupted was not noted.
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
        """Close every connection, and note no more."""
        connection_created.disconnect(self._note)
        for connection in self.opened:
            connection.close()

    def _clean(self, connection: BaseDatabaseWrapper) -> None:
        is_autocommit = connection.settings_dict["AUTOCOMMIT"]
        if connection.get_autocommit() != is_autocommit:
            drop(connection)  # works on a dead one too, unlike a change of its mode
            return
        connection.close_if_unusable_or_obsolete()
        if self._reset_session and connection.connection is not None:
            if is_autocommit:
                reset_session(connection)
            else:
                drop(connection)  # DISCARD ALL is refused inside a transaction, which any statement begins

    def _note(self, connection: BaseDatabaseWrapper, **_: Any) -> None:
        if threading.get_ident() == self._thread and connection not in self.opened:
            self.opened.append(connection)
