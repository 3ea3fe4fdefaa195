"""Transactions and savepoints on the library's own connections, which are otherwise in autocommit."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import execute

LOCK_TIMEOUT_MS: Final = 200
"""How long a statement waits for the locks of others; below ``deadlock_timeout``, by default 1 s."""
IDLE_MS: Final = 5000
"""How long a transaction may be idle before PostgreSQL ends it and releases its locks."""

_BEGIN: Final = (
    f"BEGIN; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS};"
    f" SET LOCAL idle_in_transaction_session_timeout = {IDLE_MS}"
)


def _roll_back(connection: BaseDatabaseWrapper) -> None:
    """Roll back without the execute wrappers, whose own statements would fail in a broken transaction."""
    with connection.connection.cursor() as cursor:
        cursor.execute("ROLLBACK")


@contextmanager
def transaction_of(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Run a ``with`` block in a transaction: commit it, or roll it back if the block raises.

    Its statements wait for locks no longer than ``LOCK_TIMEOUT_MS``.
    """
    execute(connection, _BEGIN)
    try:
        yield
    except BaseException:
        with suppress(Exception):  # the connection is lost, and the transaction with it
            _roll_back(connection)
        raise
    execute(connection, "COMMIT")


@contextmanager
def savepoint_of(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Run a ``with`` block in a savepoint: if the block raises, undo it and keep the transaction."""
    execute(connection, "SAVEPOINT partisan")
    try:
        yield
    except BaseException:
        with suppress(Exception), connection.connection.cursor() as cursor:  # as above
            cursor.execute("ROLLBACK TO SAVEPOINT partisan")
        raise
    execute(connection, "RELEASE SAVEPOINT partisan")
