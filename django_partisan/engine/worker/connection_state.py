"""Inspect the state in which tasks leave Django's connections; drop connections and reset sessions."""

import contextlib
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_partisan.sql.connection import execute
from django_partisan.telemetry import bus

# libpq's PQTRANS_* values, the same in both drivers. ACTIVE: a statement is running, or its result was not
# read.
_IDLE: Final = 0
_ACTIVE: Final = 1
_NO_TRANSACTION: Final = (_IDLE, 4)
"""IDLE and UNKNOWN; UNKNOWN is the status of a lost connection."""
CANCEL_TIMEOUT_SECONDS: Final = 1.0
_TRANSACTION: Final = (2, 3)
"""INTRANS and INERROR."""


def has_open_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a transaction is open on a connection, according to Django or the driver."""
    return connection.in_atomic_block or _status(connection) not in _NO_TRANSACTION


def is_inside_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return the same for a connection that a thread may be using: a running statement does not count."""
    return connection.in_atomic_block or _status(connection) in _TRANSACTION


def is_active(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a statement is running on a connection, in any thread."""
    try:
        return _status(connection) == _ACTIVE
    except Exception:  # driver errors: the connection is being closed
        return False


def cancel_query(raw: Any) -> None:
    """Ask the server to cancel the query on a driver's connection; callable in any thread, and may block."""
    with contextlib.suppress(Exception):  # driver errors: it is being closed, or the server is unreachable
        if hasattr(raw, "cancel_safe"):  # psycopg 3.2
            raw.cancel_safe(timeout=CANCEL_TIMEOUT_SECONDS)
        else:
            raw.cancel()


def discard(connection: BaseDatabaseWrapper) -> None:
    """Close the driver's connection, even if it belongs to a pool; Django reconnects when needed."""
    if connection.connection is not None:
        with contextlib.suppress(Exception):  # driver errors: the connection is already dead
            connection.connection.close()
        drop(connection)


def _status(connection: BaseDatabaseWrapper) -> int:
    raw = connection.connection
    if hasattr(raw, "pgconn"):
        return int(raw.pgconn.transaction_status)
    return int(raw.get_transaction_status()) if hasattr(raw, "get_transaction_status") else _IDLE


def drop(connection: BaseDatabaseWrapper) -> None:
    """Close the connection, which rolls back; Django reconnects when needed.

    ``close()`` inside an atomic block would leave the block's state behind, which only ``connect()`` clears.
    """
    with contextlib.suppress(Exception):  # driver errors: the connection is already dead
        connection._close()  # type: ignore[attr-defined]  # returns a pooled one, rolled back
    forget(connection)


def forget(connection: BaseDatabaseWrapper) -> None:
    """Make Django reconnect when needed, without closing the connection."""
    connection.connection = None
    connection.closed_in_transaction = False
    connection.in_atomic_block = False
    connection.run_on_commit = []


def reset_session(connection: BaseDatabaseWrapper) -> None:
    """Reset the session of an idle PostgreSQL connection, or drop the connection."""
    if connection.vendor != "postgresql":
        return
    if getattr(connection, "pool", None):  # a pool sets up new connections only: let it replace this one
        connection.connection.close()
        drop(connection)
        return
    try:
        with bus.quiet():
            execute(connection, "DISCARD ALL")
            connection.init_connection_state()
            # Projects set up their sessions in receivers, which DISCARD ALL has undone too.
            connection_created.send(sender=type(connection), connection=connection)
    except Exception:  # dead, or cannot be set up: the next task connects, and gets the error if it persists
        drop(connection)
