"""A separate PostgreSQL server that a test may stop, with the tables of django-partisan."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2

from tests.support.waiting import wait_until
from tools import database_url, postgres

from .managing import Bench

READY = "database system is ready to accept connections"


class OwnDatabase:
    """A database on such a server, with the tables of django-partisan."""

    def __init__(self, server: postgres.Server, bench: Bench) -> None:
        self.server = server
        self.bench = bench
        self.settings = database_url.parse(server.url)

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        connected = psycopg2.connect(self.server.url)
        try:
            with connected, connected.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall() if cursor.description else []
        finally:
            connected.close()

    def enqueue(self, processor: str, first: int, count: int, gate: str = "gate") -> None:
        self.execute(
            "INSERT INTO django_partisan_task (status, queue_name, created_at, updated_at, processor_class,"
            " priority, execute_after, ready, arguments, extra) SELECT 'new', 'default', now(), now(), "
            f"'{processor}', 10, now(), true, jsonb_build_object('args', jsonb_build_array('{gate}', number),"
            f" 'kwargs', '{{}}'::jsonb), '{{}}' FROM generate_series({first}, {first + count - 1}) AS number"
        )

    def hold_back_flushes(self) -> None:
        """Stop the WAL writer, so asynchronous commits stay unflushed; commit nothing else until a crash."""
        [(pid,)] = self.execute("SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
        assert isinstance(pid, int)
        self._wal_writer = pid
        os.kill(pid, signal.SIGSTOP)

    def crash(self) -> None:
        """Kill the WAL writer: PostgreSQL treats that as a crash and restarts without unflushed commits."""
        before = self.server.log().count(READY)
        os.kill(self._wal_writer, signal.SIGKILL)
        wait_until(lambda: self.server.log().count(READY) > before)

    def count(self, condition: str) -> int:
        [(count,)] = self.execute(f"SELECT count(*) FROM django_partisan_task WHERE {condition}")
        assert isinstance(count, int)
        return count


@contextmanager
def own_database(server: postgres.Server, folder: Path) -> Iterator[OwnDatabase]:
    """Yield the database with empty tables; then end the managers, and start the server if it is down."""
    made = OwnDatabase(server, Bench(folder))
    if made.execute("SELECT to_regclass('django_partisan_task')") == [(None,)]:
        done = made.bench.manage("migrate", "--run-syncdb", "-v0", database=made.settings)
        assert done.returncode == 0, done.stderr
    made.execute("TRUNCATE django_partisan_task, django_partisan_manager")
    yield made
    made.bench.destroy()
    if server.pid is None:
        server.start()
