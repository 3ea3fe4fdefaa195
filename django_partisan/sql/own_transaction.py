"""A transaction of several statements on a connection of our own, which is otherwise in autocommit."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import execute

LOCK_TIMEOUT_MS: Final = 200
"""How long a statement waits for the locks of others; less than ``deadlock_timeout``, which is 1 s."""
IDLE_MS: Final = 5000
"""Locks of a transaction that nobody goes on with do not outlive this."""

_BEGIN: Final = (
    f"BEGIN; SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS};"
    f" SET LOCAL idle_in_transaction_session_timeout = {IDLE_MS}"
)


def _roll_back(connection: BaseDatabaseWrapper) -> None:
    """Roll back without the execute wrappers: what they put before a statement fails in the transaction."""
    with connection.connection.cursor() as cursor:
        cursor.execute("ROLLBACK")


@contextmanager
def transaction_of(connection: BaseDatabaseWrapper) -> Iterator[None]:
    """Commit what is executed in a ``with`` block, or roll it back if it raises.

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
    """Undo what is executed in a ``with`` block in a transaction if it raises, and keep the transaction."""
    execute(connection, "SAVEPOINT partisan")
    try:
        yield
    except BaseException:
        with suppress(Exception), connection.connection.cursor() as cursor:  # as above
            cursor.execute("ROLLBACK TO SAVEPOINT partisan")
        raise
    execute(connection, "RELEASE SAVEPOINT partisan")
