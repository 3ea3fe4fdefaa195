"""The state in which tasks leave Django's connections: inspect it, drop a connection, reset a session."""

import contextlib
from typing import Any, Final

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_partisan.sql.connection import execute
from django_partisan.telemetry import bus

# libpq's PQTRANS_*, the same numbers in both drivers; ACTIVE: a statement runs, or has left an answer.
_IDLE: Final = 0
_ACTIVE: Final = 1
_NO_TRANSACTION: Final = (_IDLE, 4)
"""IDLE and UNKNOWN, which is that of a lost connection."""
CANCEL_TIMEOUT_SECONDS: Final = 1.0
_TRANSACTION: Final = (2, 3)
"""INTRANS and INERROR."""


def has_open_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a transaction is open on a connection, as Django or the driver sees it."""
    return connection.in_atomic_block or _status(connection) not in _NO_TRANSACTION


def is_inside_transaction(connection: BaseDatabaseWrapper) -> bool:
    """Return the same of a connection that a thread may be using: a statement that runs is no transaction."""
    return connection.in_atomic_block or _status(connection) in _TRANSACTION


def is_active(connection: BaseDatabaseWrapper) -> bool:
    """Return whether a statement runs on a connection, in any thread."""
    try:
        return _status(connection) == _ACTIVE
    except Exception:  # the driver's own errors: it is being closed
        return False


def cancel_query(raw: Any) -> None:
    """Ask the server to cancel what runs on a driver's connection; may be called in any thread, and block."""
    with contextlib.suppress(Exception):  # the driver's own errors: it is being closed, or the server is away
        if hasattr(raw, "cancel_safe"):  # psycopg 3.2
            raw.cancel_safe(timeout=CANCEL_TIMEOUT_SECONDS)
        else:
            raw.cancel()


def discard(connection: BaseDatabaseWrapper) -> None:
    """Close the connection itself, also one of a pool; let Django connect again when needed."""
    if connection.connection is not None:
        with contextlib.suppress(Exception):  # the driver's own errors: it is dead already
            connection.connection.close()
        drop(connection)


def _status(connection: BaseDatabaseWrapper) -> int:
    raw = connection.connection
    if hasattr(raw, "pgconn"):
        return int(raw.pgconn.transaction_status)
    return int(raw.get_transaction_status()) if hasattr(raw, "get_transaction_status") else _IDLE


def drop(connection: BaseDatabaseWrapper) -> None:
    """Close the connection, which rolls back, and let Django connect again when needed.

    ``close()`` inside an atomic block would leave the block's state behind; ``connect()`` clears it.
    """
    with contextlib.suppress(Exception):  # the driver's own errors: it is dead already
        connection._close()  # type: ignore[attr-defined]  # a pooled one goes back, and is rolled back
    forget(connection)


def forget(connection: BaseDatabaseWrapper) -> None:
    """Let Django connect again when needed, without closing the connection."""
    connection.connection = None
    connection.closed_in_transaction = False
    connection.in_atomic_block = False
    connection.run_on_commit = []


def reset_session(connection: BaseDatabaseWrapper) -> None:
    """Reset the session of an idle PostgreSQL connection, or drop the connection."""
    if connection.vendor != "postgresql":
        return
    if getattr(connection, "pool", None):  # it sets up new connections only: let it replace this one
        connection.connection.close()
        drop(connection)
        return
    try:
        with bus.quiet():
            execute(connection, "DISCARD ALL")
            connection.init_connection_state()
            # Projects set their sessions up in receivers, and DISCARD ALL has undone that as well.
            connection_created.send(sender=type(connection), connection=connection)
    except (
        Exception
    ):  # it is dead, or cannot be set up: the next task connects, and gets the error if it lasts
        drop(connection)
