"""What the trial reads from the database, over connections that nothing breaks."""

from contextlib import closing
from typing import Any, NamedTuple

import psycopg2

from .evidence import Row, ScheduleRow

_OURS = "chaos"
"""The application name of our own connections."""
_SESSIONS = f"""
    FROM pg_stat_activity WHERE application_name <> '{_OURS}' AND backend_type = 'client backend'
"""
_ROWS = """
    SELECT id, arguments->'args'->>0, processor_class, (arguments->'args'->>1)::float8, status,
           error_reason, attempts, crashes, retries, postpones
      FROM django_partisan_task WHERE scheduled_for IS NULL
"""
_SCHEDULES = """
    SELECT name, extract(epoch FROM defined_at)::float8, extract(epoch FROM last_at)::float8, totals,
           coalesce(extract(epoch FROM now() - next_at)::float8, 'Infinity')
      FROM django_partisan_schedule
"""


class Progress(NamedTuple):
    """How many tasks have not ended, and what changes with every run."""

    unended: int
    attempts: int
    rows: int


class Database:
    """The database of a trial."""

    def __init__(self, url: str) -> None:
        self._url = url

    def progress(self) -> Progress:
        """Return how far the tasks are."""
        [row] = self._read(
            "SELECT count(*) FILTER (WHERE status IN ('new', 'in_process')), coalesce(sum(attempts), 0),"
            " count(*) FROM django_partisan_task WHERE scheduled_for IS NULL"
        )
        return Progress(*row)

    def managers(self) -> int:
        """Return how many managers have a row."""
        return len(self.manager_names())

    def manager_names(self) -> list[str]:
        """Return the host and process id of each manager that has a row."""
        return [f"{host}:{pid}" for host, pid in self._read("SELECT host, pid FROM django_partisan_manager")]

    def sessions(self) -> int:
        """Return how many clients are connected, without ourselves."""
        return len(self.session_names())

    def session_names(self) -> list[str]:
        """Return how each client names itself, and what it last asked."""
        return [
            f"{name!r}: {query[:60]}"
            for name, query in self._read(f"SELECT application_name, query {_SESSIONS}")
        ]

    def rows(self) -> list[Row]:
        """Return the row of every task."""
        return [Row(*row) for row in self._read(_ROWS)]

    def schedules(self) -> list[ScheduleRow]:
        """Return the row of every schedule."""
        return [ScheduleRow(*row) for row in self._read(_SCHEDULES)]

    def effects(self) -> list[tuple[str, str]]:
        """Return what atomic tasks wrote."""
        return [(key, run) for key, run in self._read("SELECT key, run FROM chaos_effect")]

    def markers(self) -> set[str]:
        """Return the transactions of enqueuers that were committed."""
        return {name for (name,) in self._read("SELECT transaction FROM chaos_marker")}

    def _connection(self) -> Any:
        return closing(psycopg2.connect(self._url, application_name=_OURS))

    def _read(self, statement: str) -> list[tuple[Any, ...]]:
        with self._connection() as connected, connected.cursor() as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall())
