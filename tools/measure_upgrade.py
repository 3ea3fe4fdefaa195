"""Measure how long the migrations after 1.6.1 take, and how long a call of `delay()` waits during them.

    python -m tools.postgres --durable run -- python -m tools.measure_upgrade --rows 1000000

The rows are those of version 1: one in twenty is waiting, one in twenty has failed, the rest are finished.
"""

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import django
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

LAST_OF_VERSION_1 = "0002_auto_20200721_0300"

# Exactly what the ORM of 1.6.1 writes: its columns, with its counters in `extra`.
FILL = """
    INSERT INTO django_partisan_task (status, queue_name, created_at, updated_at, processor_class, priority,
                                      execute_after, arguments, extra)
    SELECT CASE mod(n, 20) WHEN 0 THEN 'new' WHEN 1 THEN 'error' ELSE 'finished' END, 'default', now(), now(),
           'MyProcessor', 10, now(), jsonb_build_object('args', jsonb_build_array(n), 'kwargs', '{}'::jsonb),
           CASE mod(n, 20) WHEN 0 THEN '{"postpones": {"count": 1}}'::jsonb ELSE '{}'::jsonb END
      FROM generate_series(1, %s) AS n
"""
INSERT_AS_VERSION_1 = """
    INSERT INTO django_partisan_task (status, queue_name, created_at, updated_at, processor_class, priority,
                                      execute_after, arguments, extra)
    VALUES ('new', 'default', now(), now(), 'MyProcessor', 10, now(), '{"args": [0], "kwargs": {}}', '{}')
"""
PROBE_PAUSE_SECONDS = 0.01


def main() -> int:
    """Print the sizes of the table and the seconds of each migration."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.measure_upgrade",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    with _database_of_its_own():
        call_command("migrate", "django_partisan", LAST_OF_VERSION_1, verbosity=0)
        _ask(FILL, rows)
        _ask("VACUUM ANALYZE django_partisan_task")
        print(f"{rows:,} rows, {_size()} MiB with indexes, PostgreSQL {_version()}")
        for name in _not_applied():
            seconds, longest = _migrate(name)
            print(f"{name}: {seconds:.2f} s; the longest insert of version 1 during it took {longest:.2f} s")
        print(f"{_size()} MiB with indexes afterwards")
    return 0


@contextmanager
def _database_of_its_own() -> Iterator[None]:
    before = connection.settings_dict["NAME"]
    name = f"partisan_upgrade_{os.getpid()}"
    _ask(f"CREATE DATABASE {name}")
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before
        _ask(f"DROP DATABASE {name} WITH (FORCE)")
        connection.close()


def _not_applied() -> list[str]:
    executor = MigrationExecutor(connection)
    targets = executor.loader.graph.leaf_nodes("django_partisan")
    return [migration.name for migration, _ in executor.migration_plan(targets)]


def _migrate(name: str) -> tuple[float, float]:
    """Return how long a migration took and how long the slowest insert during it took, in seconds."""
    done = threading.Event()
    taken: list[float] = []
    prober = threading.Thread(target=_probe, args=(done, taken))
    prober.start()
    started = time.monotonic()
    try:
        call_command("migrate", "django_partisan", name, verbosity=0)
        return time.monotonic() - started, max(taken, default=0.0)
    finally:
        done.set()
        prober.join()


def _probe(done: threading.Event, taken: list[float]) -> None:
    """Enqueue one task after another, as version 1 does. This thread has its own connection."""
    try:
        while not done.is_set():
            started = time.monotonic()
            _ask(INSERT_AS_VERSION_1)
            taken.append(time.monotonic() - started)
            done.wait(PROBE_PAUSE_SECONDS)
    finally:
        connection.close()


def _ask(sql: str, *parameters: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or None)


def _size() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_total_relation_size('django_partisan_task') / 1048576")
        return int(cursor.fetchone()[0])


def _version() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        return str(cursor.fetchone()[0]).split()[0]


if __name__ == "__main__":
    sys.exit(main())
