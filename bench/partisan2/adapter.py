"""The measured process: one that enqueues, or `start_partisan`.

The peers' harness runs this file (PEERS_LIB is then the folder of its `cli` and `rec`), and so does
`python -m bench`. Each verb prints one line of JSON.
"""

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PSYCOPG3 = "PARTISAN_BENCH_PSYCOPG3"
"""The variable with a folder of psycopg 3 (`pip install --target`), if the environment has none."""


def find_modules() -> None:
    """Make the modules of the benchmarks and of the harness importable, here and in workers."""
    folders = [str(ROOT)]
    if library := os.environ.get("PEERS_LIB"):
        folders.append(library)
    if os.environ.get("PARTISAN_BENCH_DRIVER") == "psycopg3" and (folder := os.environ.get(PSYCOPG3)):
        folders.append(folder)
    sys.path[:1] = folders  # instead of the folder of this file
    os.environ["PYTHONPATH"] = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.settings"


def setup() -> None:
    """Create the schema in an empty database."""
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
    """Enqueue many tasks with one call."""
    from bench.app.partisan_tasks import Bench
    from django_partisan.processor import bulk_delay

    bulk_delay([Bench(i=i, m=m) for i in ids])


def retain(count: int) -> None:
    """Insert finished tasks, as django-partisan leaves them."""
    from django.db import connection

    from bench.rows import FINISHED

    with connection.cursor() as cursor:
        cursor.execute(FINISHED, [count])


def worker() -> None:
    """Run `start_partisan` until it is asked to stop."""
    from django.core.management import call_command

    from bench import probes, surroundings

    with surroundings.of_worker() as options, probes.of_manager():
        call_command("start_partisan", *options)


def main() -> None:
    """Run the verb in the first argument."""
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
