"""Queries of the trial itself, over connections without faults."""

from contextlib import closing
from typing import Any, NamedTuple

import psycopg2

from . import schedules
from .evidence import Row, ScheduleRow, TickRow

_OURS = "chaos"
"""The application name of the trial's own connections."""
_SESSIONS = f"""
    FROM pg_stat_activity WHERE application_name <> '{_OURS}' AND backend_type = 'client backend'
"""
_ROWS = """
    SELECT id, arguments->'args'->>0, processor_class, (arguments->'args'->>1)::float8, status,
           error_reason, attempts, crashes, retries, postpones
      FROM django_partisan_task WHERE scheduled_for IS NULL
"""
_TICK_ROWS = """
    SELECT context->>'partisan.schedule', extract(epoch FROM scheduled_for)::float8, id, status,
           extract(epoch FROM to_timestamp(%s) - created_at)::float8
      FROM django_partisan_task WHERE scheduled_for IS NOT NULL
"""
_PROGRESS = """
    SELECT count(*) FILTER (
               WHERE status IN ('new', 'in_process')
                 AND (scheduled_for IS NULL OR created_at < now() - %s * interval '1 second')
           ),
           coalesce(sum(attempts) FILTER (WHERE scheduled_for IS NULL), 0),
           count(*) FILTER (WHERE scheduled_for IS NULL)
      FROM django_partisan_task
"""
_SCHEDULES = """
    SELECT name, extract(epoch FROM defined_at)::float8, extract(epoch FROM last_at)::float8, totals,
           coalesce(extract(epoch FROM to_timestamp(%s) - next_at)::float8, 'Infinity')
      FROM django_partisan_schedule
"""


class Progress(NamedTuple):
    """The number of tasks that have not ended, and counts that change with every run of enqueuers' tasks.

    New ticks are enqueued all the time, so their tasks count only when they are old.
    """

    unended: int
    attempts: int
    rows: int


class Database:
    """The database of a trial."""

    def __init__(self, url: str) -> None:
        self._url = url

    def progress(self) -> Progress:
        """Return the progress of the tasks."""
        [row] = self._read(_PROGRESS, (schedules.REST_SECONDS,))
        return Progress(*row)

    def now(self) -> float:
        """Return the server's time, in seconds since 1970."""
        [(seconds,)] = self._read("SELECT extract(epoch FROM now())::float8")
        return float(seconds)

    def managers(self) -> int:
        """Return how many managers have a row."""
        return len(self.manager_names())

    def manager_names(self) -> list[str]:
        """Return the host and process id of each manager that has a row."""
        return [f"{host}:{pid}" for host, pid in self._read("SELECT host, pid FROM django_partisan_manager")]

    def sessions(self) -> int:
        """Return how many clients are connected, except the trial itself."""
        return len(self.session_names())

    def session_names(self) -> list[str]:
        """Return the application name and the last query of each client."""
        return [
            f"{name!r}: {query[:60]}"
            for name, query in self._read(f"SELECT application_name, query {_SESSIONS}")
        ]

    def rows(self) -> list[Row]:
        """Return the row of every task that an enqueuer enqueued."""
        return [Row(*row) for row in self._read(_ROWS)]

    def tick_rows(self, stopped_at: float) -> list[TickRow]:
        """Return the rows of the tasks of ticks, with their age when the managers were asked to stop."""
        return [TickRow(*row) for row in self._read(_TICK_ROWS, (stopped_at,))]

    def schedules(self, stopped_at: float) -> list[ScheduleRow]:
        """Return the rows of schedules, with their lateness when the managers were asked to stop."""
        return [ScheduleRow(*row) for row in self._read(_SCHEDULES, (stopped_at,))]

    def effects(self) -> list[tuple[str, str]]:
        """Return the rows that atomic tasks wrote."""
        return [(key, run) for key, run in self._read("SELECT key, run FROM chaos_effect")]

    def markers(self) -> set[str]:
        """Return the transactions of enqueuers that were committed."""
        return {name for (name,) in self._read("SELECT transaction FROM chaos_marker")}

    def _connection(self) -> Any:
        return closing(psycopg2.connect(self._url, application_name=_OURS))

    def _read(self, statement: str, parameters: tuple[Any, ...] | None = None) -> list[tuple[Any, ...]]:
        with self._connection() as connected, connected.cursor() as cursor:
            cursor.execute(statement, parameters)
            return list(cursor.fetchall())
