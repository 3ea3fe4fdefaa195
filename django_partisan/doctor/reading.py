"""Read the tables with time limits: a lock on a table is one of the problems that the doctor must report."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.db import Error, connections, transaction

from django_partisan.sql.blocking import with_blockers
from django_partisan.sql.connection import execute, task_database

# Local to the transaction, because a pooler may give the session to other clients.
_LIMIT: Final = "SELECT set_config('lock_timeout', '2s', true), set_config('statement_timeout', '10s', true)"


@contextmanager
def limited() -> Iterator[None]:
    """Limit how long each statement waits and runs; an error about a lock names its holders."""
    connection = connections[task_database()]
    try:
        with transaction.atomic(using=connection.alias):
            execute(connection, _LIMIT)
            yield
    except Error as error:
        raise with_blockers(connection, error) from error.__cause__  # the driver's, with the SQLSTATE
