"""Receive notifications of enqueued tasks: LISTEN and NOTIFY, for both drivers."""

from typing import Any

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import execute
from django_partisan.sql.enqueueing import CHANNEL


class Listener:
    """A connection that receives notifications, including those that the driver reads with an answer."""

    def __init__(self, connection: BaseDatabaseWrapper, channel: str = CHANNEL) -> None:
        connection.ensure_connection()
        self._connection = connection
        self._raw: Any = connection.connection
        self._arrived: list[str] = []
        if _is_of_psycopg3(self._raw):  # without a handler, it drops those read with an answer
            self._raw.add_notify_handler(lambda notification: self._arrived.append(notification.payload))
        execute(connection, f"LISTEN {channel}")
        self.fd: int = self._raw.fileno()
        """Readable if something may have arrived; not if it was read with an answer."""

    def take(self) -> set[str]:
        """Return the queues that were notified since the last call, without waiting.

        Raises ``OperationalError`` if the connection is lost.
        """
        if self._connection.connection is not self._raw:
            raise OperationalError("the connection is closed")
        try:
            self._read()
        except Exception as error:  # the drivers' own errors: Django translates only those of cursors
            raise OperationalError(str(error)) from error
        arrived, self._arrived = set(self._arrived), []
        return arrived

    def _read(self) -> None:
        raw = self._raw
        if not _is_of_psycopg3(raw):
            raw.poll()
            self._arrived += [notification.payload for notification in raw.notifies]
            raw.notifies.clear()
            return
        raw.pgconn.consume_input()
        while (notification := raw.pgconn.notifies()) is not None:
            self._arrived.append(notification.extra.decode())


def _is_of_psycopg3(raw: Any) -> bool:
    return hasattr(raw, "pgconn")
