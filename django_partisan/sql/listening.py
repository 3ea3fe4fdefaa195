"""Receive notifications of enqueued tasks: LISTEN and NOTIFY, for both drivers."""

from typing import Any

from django.db import OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.enqueueing import CHANNEL


def listen(connection: BaseDatabaseWrapper) -> None:
    """Have the connection receive notifications from now on."""
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")


def queues_notified(connection: BaseDatabaseWrapper) -> set[str]:
    """Return the queues that notifications have come for, without waiting.

    Raises ``OperationalError`` if the connection is lost.
    """
    raw: Any = connection.connection
    if raw is None:
        raise OperationalError("the connection is closed")
    try:
        return _with_psycopg3(raw) if hasattr(raw, "pgconn") else _with_psycopg2(raw)
    except Exception as error:  # the drivers' own errors: Django translates only those of cursors
        raise OperationalError(str(error)) from error


def _with_psycopg2(raw: Any) -> set[str]:
    raw.poll()
    queues = {notification.payload for notification in raw.notifies}
    raw.notifies.clear()
    return queues


def _with_psycopg3(raw: Any) -> set[str]:
    raw.pgconn.consume_input()
    queues = set()
    while (notification := raw.pgconn.notifies()) is not None:
        queues.add(notification.extra.decode())
    return queues
