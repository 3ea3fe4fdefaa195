"""What is measured: one process that enqueues, or one `start_partisan`.

The peers' harness runs this file (then PEERS_LIB names the folder of its own `cli` and `rec`), and so does
`python -m bench` alone. Each verb prints one line of JSON.
"""

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PSYCOPG3 = "PARTISAN_BENCH_PSYCOPG3"
"""Names a folder that holds psycopg 3 (`pip install --target`), where the environment itself has none."""


def find_modules() -> None:
    """Make our modules and the harness's own importable, here and in the worker processes."""
    folders = [str(ROOT)]
    if library := os.environ.get("PEERS_LIB"):
        folders.append(library)
    if os.environ.get("PARTISAN_BENCH_DRIVER") == "psycopg3" and (folder := os.environ.get(PSYCOPG3)):
        folders.append(folder)
    sys.path[:1] = folders  # in place of this file's own folder
    os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"


def setup() -> None:
    """Make the schema in an empty database."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def one(i: int, m: int) -> None:
    """Enqueue one task in its own commit; a negative number only connects."""
    from bench.app.partisan_tasks import Bench

    if i < 0:
        from django.db import connection

        connection.ensure_connection()
        return
    Bench(i=i, m=m).delay()


def bulk(ids: Iterable[int], m: int) -> None:
    """Enqueue many tasks by one call."""
    from bench.app.partisan_tasks import Bench
    from django_partisan.processor import bulk_delay

    bulk_delay([Bench(i=i, m=m) for i in ids])


def retain(count: int) -> None:
    """Leave finished tasks behind, as we would."""
    from django.db import connection

    from bench.rows import FINISHED

    with connection.cursor() as cursor:
        cursor.execute(FINISHED, [count])


def worker() -> None:
    """Run `start_partisan` until it is told to stop."""
    from django.core.management import call_command

    from bench import probes, surroundings

    with surroundings.of_worker() as options, probes.of_manager():
        call_command("start_partisan", *options)


def main() -> None:
    """Do what the first argument says."""
    find_modules()
    import django

    from bench import surroundings

    if sys.argv[1] != "worker":
        surroundings.of_enqueuer()
    django.setup()
    cli: Any = importlib.import_module("cli" if "PEERS_LIB" in os.environ else "bench.verbs")
    cli.main(setup, one, bulk, retain, worker)


if __name__ == "__main__":
    main()
