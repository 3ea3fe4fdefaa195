"""How many tasks of a queue wait, and until when."""

from datetime import datetime
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import fetch_all

# In two parts, as there is an index of the ready ones and one of the others.
_WAITING = """
    SELECT sum(count)::bigint, min(first), extract(epoch FROM min(first) - now())::float8
      FROM (SELECT count(*), min(execute_after) AS first FROM django_partisan_task
             WHERE queue_name = %s AND status = 'new' AND ready
             UNION ALL
            SELECT count(*), min(execute_after) FROM django_partisan_task
             WHERE queue_name = %s AND status = 'new' AND NOT ready) AS part
"""


class Waiting(NamedTuple):
    """The tasks that wait: how many, and when the first of them is due."""

    number: int
    next_due_at: datetime | None
    next_due_in_seconds: float | None


def waiting(connection: BaseDatabaseWrapper, queue: str) -> Waiting:
    """Return how many tasks of the queue wait, due or scheduled."""
    return Waiting(*fetch_all(connection, _WAITING, (queue, queue))[0])


def server_version(connection: BaseDatabaseWrapper) -> str:
    """Return the version of the PostgreSQL server, without the packager's remark."""
    return str(fetch_all(connection, "SHOW server_version")[0][0]).split()[0]
