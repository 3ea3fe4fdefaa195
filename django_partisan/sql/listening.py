"""Receive PostgreSQL's notifications, with both drivers."""

from typing import Any

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import execute


class Listener:
    """Receive a connection's notifications, including those that the driver reads with a query's answer."""

    def __init__(self, connection: BaseDatabaseWrapper, *channels: str) -> None:
        connection.ensure_connection()
        self._connection = connection
        self._raw: Any = connection.connection
        self._arrived: list[tuple[str, str]] = []
        if _is_of_psycopg3(self._raw):  # without a handler, it drops those that it reads with an answer
            self._raw.add_notify_handler(self._note)
        execute(connection, "; ".join(f"LISTEN {channel}" for channel in channels))
        self.fd: int = self._raw.fileno()
        """Readable if a notification may have arrived, but not for one that was read with an answer."""

    def take(self) -> dict[str, set[str]]:
        """Return the payloads that arrived since the last call, by channel, without waiting.

        Raises ``OperationalError`` if the connection is lost.
        """
        if self._connection.connection is not self._raw:
            raise OperationalError("the connection is closed")
        try:
            self._read()
        except Exception as error:  # the drivers' own errors: Django translates only those of cursors
            raise OperationalError(str(error)) from error
        arrived: dict[str, set[str]] = {}
        for channel, payload in self._arrived:
            arrived.setdefault(channel, set()).add(payload)
        self._arrived.clear()
        return arrived

    def _note(self, notification: Any) -> None:
        self._arrived.append((notification.channel, notification.payload))

    def _read(self) -> None:
        raw = self._raw
        if not _is_of_psycopg3(raw):
            raw.poll()
            for notification in raw.notifies:
                self._note(notification)
            raw.notifies.clear()
            return
        raw.pgconn.consume_input()
        while (notification := raw.pgconn.notifies()) is not None:
            self._arrived.append((notification.relname.decode(), notification.extra.decode()))


def _is_of_psycopg3(raw: Any) -> bool:
    return hasattr(raw, "pgconn")
