"""Count the waiting tasks of a queue, and find when the first of them is due."""

from datetime import datetime
from typing import NamedTuple

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import fetch_all

# Each of the parts is read from an index.
_WAITING = """
    SELECT ready.number + later.number, least(ready.first, later.first),
           extract(epoch FROM least(ready.first, later.first) - now())::float8, held.number
      FROM (SELECT count(*) AS number, min(execute_after) AS first FROM django_partisan_task
             WHERE queue_name = %(queue)s AND status = 'new' AND ready) AS ready,
           (SELECT count(*) AS number, min(execute_after) AS first FROM django_partisan_task
             WHERE queue_name = %(queue)s AND status = 'new' AND NOT ready AND held IS NULL) AS later,
           (SELECT count(*) AS number FROM django_partisan_task
             WHERE queue_name = %(queue)s AND held IS NOT NULL AND status = 'new' AND NOT ready) AS held
"""


class Backlog(NamedTuple):
    """How many tasks wait and are not held, when the first of them is due, and how many are held."""

    number: int
    next_due_at: datetime | None
    next_due_in_seconds: float | None
    held: int


def waiting(connection: BaseDatabaseWrapper, queue: str) -> Backlog:
    """Return how many tasks of the queue wait, due or scheduled, and how many are held."""
    return Backlog(*fetch_all(connection, _WAITING, {"queue": queue})[0])


def server_version(connection: BaseDatabaseWrapper) -> str:
    """Return the version of the PostgreSQL server, without the packager's suffix."""
    return str(fetch_all(connection, "SHOW server_version")[0][0]).split()[0]
