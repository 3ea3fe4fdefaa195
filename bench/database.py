"""Create databases on the server, and read the counters of the server."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg2
from psycopg2 import sql

from bench.measurement import Failed

NAME = "partisan_bench"
TIDY_SETTINGS = (
    "server_version",
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "shared_buffers",
    "max_wal_size",
)


class Database:
    """The database of the benchmarks; `log` returns the server's log if it can be read."""

    def __init__(self, url: str, pid: int | None = None, log: Callable[[], str] | None = None) -> None:
        self.pid = pid
        self._log = log
        self._server = _libpq_variables(url)
        self._maintenance = self._connect(self._server["PGDATABASE"])

    def environment(self) -> dict[str, str]:
        """Return the variables of libpq for this database."""
        return {**self._server, "PGDATABASE": NAME}

    def recreate(self) -> None:
        """Drop the database and create it again, empty."""
        self.drop()
        self._execute("CREATE DATABASE {} TEMPLATE template0")

    def drop(self) -> None:
        """Drop the database and close all connections to it."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)")

    def close(self) -> None:
        """Drop the database and disconnect."""
        self.drop()
        self._maintenance.close()

    def vacuum(self) -> None:
        """Run VACUUM ANALYZE and CHECKPOINT, so that a run does not pay for earlier work."""
        with self.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")

    def value(self, question: str) -> Any:
        """Return the single value that a query returns."""
        with self.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchone()[0]

    def run(self, statement: str, *values: object) -> None:
        """Run one statement."""
        with self.cursor() as cursor:
            cursor.execute(statement, values)

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Hold a transaction with a snapshot open; raise `Failed` if it was not open until the end."""
        with self.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")  # SELECT takes the snapshot
            yield
            pid = cursor.connection.info.backend_pid
            condition = f"pid = {pid} AND state = 'idle in transaction' AND backend_xmin IS NOT NULL"
            if not self.value(f"SELECT count(*) FROM pg_stat_activity WHERE {condition}"):
                raise Failed("the transaction was not held open, or had no snapshot")

    def cursor(self) -> "Session":
        """Return a session for a `with` block."""
        return Session(self._connect(NAME))

    def settings(self) -> dict[str, str]:
        """Return the server's settings that are relevant for the figures."""
        with self._maintenance.cursor() as cursor:
            cursor.execute("SELECT name, current_setting(name) FROM unnest(%s) name", [list(TIDY_SETTINGS)])
            return dict(cursor.fetchall())

    def count_statements(self) -> None:
        """Make the server log all statements of sessions that start from now on."""
        if self._log:
            self._execute("ALTER DATABASE {} SET log_statement = 'all'")

    def statements(self) -> int | None:
        """Return the number of statements since `count_statements()`; `None` if they are not counted."""
        if self._log is None:
            return None
        log = self._log()
        return log.count("LOG:  statement: ") + log.count("LOG:  execute ")

    def transactions(self) -> int:
        """Return how many transactions were committed or rolled back in this database."""
        with self._maintenance.cursor() as cursor:
            cursor.execute(
                "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = %s", [NAME]
            )
            return int(cursor.fetchone()[0])

    def written(self) -> tuple[int, int]:
        """Return the bytes of WAL and the number of transactions that the server has written so far."""
        with self._maintenance.cursor() as cursor:
            cursor.execute(
                "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint,"
                " pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
            )
            wal_bytes, transactions = cursor.fetchone()
            return wal_bytes, transactions

    def unlogged(self) -> Any:
        """Return a connection whose statements are not counted."""
        return self._connect(NAME, "-c log_statement=none")

    def _execute(self, template: str) -> None:
        with self._maintenance.cursor() as cursor:
            cursor.execute(sql.SQL(template).format(sql.Identifier(NAME)))

    def _connect(self, name: str, options: str = "") -> Any:
        where = self._server
        connection = psycopg2.connect(
            host=where.get("PGHOST"), port=where.get("PGPORT"), user=where.get("PGUSER"),
            password=where.get("PGPASSWORD"), dbname=name, application_name="partisan-bench", options=options,
        )  # fmt: skip
        connection.autocommit = True
        return connection


class Session:
    """A cursor on its own connection, for a `with` block."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __enter__(self) -> Any:
        return self._connection.cursor()

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()


def _libpq_variables(url: str) -> dict[str, str]:
    parts = urlsplit(url)
    found = {
        "PGHOST": unquote(parts.hostname or ""),
        "PGPORT": str(parts.port or ""),
        "PGUSER": unquote(parts.username or ""),
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": unquote(parts.path.removeprefix("/")) or os.environ.get("PGDATABASE", "postgres"),
    }
    return {name: value for name, value in found.items() if value}
