"""The server that everything runs on: make databases in it, and count what it did."""

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
    """One database of our own on a server; `log` returns the server's log where that is ours to read."""

    def __init__(self, url: str, pid: int | None = None, log: Callable[[], str] | None = None) -> None:
        self.pid = pid
        self._log = log
        self._server = _libpq_variables(url)
        self._maintenance = self._connect(self._server["PGDATABASE"])

    def environment(self) -> dict[str, str]:
        """Return libpq's variables for our database."""
        return {**self._server, "PGDATABASE": NAME}

    def recreate(self) -> None:
        """Make the database anew, empty."""
        self.drop()
        self._execute("CREATE DATABASE {} TEMPLATE template0")

    def drop(self) -> None:
        """Remove the database with whoever is connected."""
        self._execute("DROP DATABASE IF EXISTS {} WITH (FORCE)")

    def close(self) -> None:
        """Remove the database and hang up."""
        self.drop()
        self._maintenance.close()

    def tidy(self) -> None:
        """Vacuum, analyze and checkpoint, so that a run does not pay for what came before it."""
        with self.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
            cursor.execute("CHECKPOINT")

    def value(self, question: str) -> Any:
        """Return the one value that a query on our database gives."""
        with self.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchone()[0]

    def run(self, statement: str, *values: object) -> None:
        """Run one statement on our database."""
        with self.cursor() as cursor:
            cursor.execute(statement, values)

    @contextmanager
    def held_open(self) -> Iterator[None]:
        """Hold a transaction open that VACUUM must respect; raise `Failed` if it was not, up to the end."""
        with self.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")  # which takes the snapshot
            yield
            pid = cursor.connection.info.backend_pid
            condition = f"pid = {pid} AND state = 'idle in transaction' AND backend_xmin IS NOT NULL"
            if not self.value(f"SELECT count(*) FROM pg_stat_activity WHERE {condition}"):
                raise Failed("the transaction was not held open, or had no snapshot")

    def cursor(self) -> "Session":
        """Return a session on our database for a `with` block."""
        return Session(self._connect(NAME))

    def settings(self) -> dict[str, str]:
        """Return the server's settings that a reader of figures wants to know."""
        with self._maintenance.cursor() as cursor:
            cursor.execute("SELECT name, current_setting(name) FROM unnest(%s) name", [list(TIDY_SETTINGS)])
            return dict(cursor.fetchall())

    def count_statements(self) -> None:
        """Have the server log every statement of sessions on our database that start from now on."""
        if self._log:
            self._execute("ALTER DATABASE {} SET log_statement = 'all'")

    def statements(self) -> int | None:
        """Return how many statements our database has run since; `None` where nobody counts them."""
        if self._log is None:
            return None
        log = self._log()
        return log.count("LOG:  statement: ") + log.count("LOG:  execute ")

    def transactions(self) -> int:
        """Return how many transactions our database has ended, well or not."""
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
        """Return a connection to our database whose statements are not counted."""
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
    """A cursor on a connection of its own, for a `with` block."""

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
