"""Find the sessions whose locks made one of our statements time out.

``pg_blocking_pids()`` shows them only while the statement waits. Afterwards the locks can still be found:
table locks in ``pg_locks``, and a row lock by the transaction in the row's ``xmax``.
"""

from collections.abc import Collection
from typing import Any, Final

from django.db import Error, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import fetch_all
from django_partisan.sql.errors import ErrorKind, kind_of

_SESSION: Final = """
    activity.pid, coalesce(activity.application_name, ''), coalesce(activity.state, ''),
    extract(epoch FROM statement_timestamp() - activity.xact_start)::float8
"""
# The lock modes that conflict with claiming and settling. A session that still waits for such a lock blocks
# later ones, too. pg_locks shows the locks of all databases, and a table has the same OID in a database that
# was copied with TEMPLATE.
_OF_TABLE: Final = f"""
    SELECT DISTINCT {_SESSION}
      FROM pg_locks JOIN pg_stat_activity AS activity USING (pid)
     WHERE relation = to_regclass('django_partisan_task') AND pg_locks.pid <> pg_backend_pid()
       AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
"""
_OF_ROWS: Final = f"""
    SET LOCAL lock_timeout = 20;
    SELECT DISTINCT {_SESSION}
      FROM django_partisan_task AS task
      JOIN pg_locks ON locktype = 'transactionid' AND granted AND transactionid = task.xmax
      JOIN pg_stat_activity AS activity USING (pid)
     WHERE task.id = ANY(%s) AND pg_locks.pid <> pg_backend_pid()
"""
_NAMED_AT_MOST: Final = 3
_BLOCKERS: Final = "partisan_blockers"


def blocking_sessions(connection: BaseDatabaseWrapper, ids: Collection[int] = ()) -> str:
    """Return the sessions that lock the table, or else the rows with these ids, as text; empty if none do.

    At most three are named: those whose transactions have been open the longest. The connection must not be
    in a transaction. No session is found for a row that several transactions lock at once, or that was
    locked in a savepoint that has been released since.
    """
    try:
        found = fetch_all(connection, _OF_TABLE)
        if not found and ids:
            found = fetch_all(connection, _OF_ROWS, (list(ids),))
    except Error:  # the caller reports the lock anyway, only without its holder
        return ""
    oldest_first = sorted(found, key=_age, reverse=True)
    named = [_described(session) for session in oldest_first[:_NAMED_AT_MOST]]
    more = len(found) - len(named)
    return ", ".join([*named, f"and {more} more"] if more else named)


def with_blockers(connection: BaseDatabaseWrapper, error: Error) -> Error:
    """Return an error that names the sessions that lock the table; ``error`` itself if there are none."""
    if kind_of(error) not in (ErrorKind.CANCELLED, ErrorKind.LOCKED):
        return error
    blockers = blocking_sessions(connection)
    return locked_by(error, blockers) if blockers else error


def locked_by(error: Error, blockers: str) -> OperationalError:
    """Return an error like ``error`` that names the sessions that lock the table."""
    # Django's class for PostgreSQL errors is kept, because logs and error trackers group errors by class.
    made = OperationalError(f"{str(error).strip()} (the table is locked by {blockers})")
    setattr(made, _BLOCKERS, blockers)
    made.__cause__ = error.__cause__
    return made


def blockers_of(error: Error) -> str:
    """Return the sessions that ``with_blockers()`` found; empty if it found none."""
    return str(getattr(error, _BLOCKERS, ""))


def _age(session: tuple[Any, ...]) -> float:
    seconds = session[-1]  # NULL for a session of another role, unless ours may read all statistics
    return -1.0 if seconds is None else max(0.0, seconds)  # its transaction may be younger than our statement


def _described(session: tuple[Any, ...]) -> str:
    pid, application, state, seconds = session
    age = None if seconds is None else f"open for {_age(session):.0f} s"
    known = ", ".join(filter(None, (application, state, age)))
    return f"session {pid} ({known})" if known else f"session {pid}"
