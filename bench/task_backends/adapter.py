"""The measured process of a backend: one that enqueues, or its workers.

The verbs are those of ``bench.verbs``; each prints one line of JSON.
"""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_ONE_WORKER = "one-worker"


def setup() -> None:
    """Create the schema in an empty database."""
    from django.core.management import call_command

    call_command("migrate", verbosity=0)


def one(i: int, m: int) -> None:
    """Enqueue one task in its own commit; a negative number only connects."""
    if i < 0:
        from django.db import connection

        connection.ensure_connection()
    elif _is_of_processors():
        from bench.app.partisan_tasks import Bench

        Bench(i=i, m=m).delay()
    else:
        from bench.task_backends.functions import body

        body.enqueue(i=i, m=m)


def bulk(ids: Iterable[int], m: int) -> None:
    """Enqueue many tasks with the backend's bulk call, or one by one in a transaction."""
    if _is_of_processors():
        from bench.app.partisan_tasks import Bench
        from django_partisan.processor import bulk_delay

        bulk_delay([Bench(i=i, m=m) for i in ids])
        return
    from bench.task_backends.backends import BACKEND
    from bench.task_backends.functions import body

    calls = [((), {"i": i, "m": m}) for i in ids]
    if os.environ[BACKEND] == "partisan":
        from django_partisan.backend import bulk_enqueue

        bulk_enqueue(body, calls)
    elif os.environ[BACKEND] == "django_ox":
        importlib.import_module("django_ox.bulk").enqueue_many(body, calls)
    else:
        from django.db import transaction

        with transaction.atomic():
            for _, kwargs in calls:
                body.enqueue(**kwargs)


def _is_of_processors() -> bool:
    from bench.task_backends.backends import BACKEND, PROCESSORS

    return os.environ[BACKEND] == PROCESSORS


def retain(count: int) -> None:
    """Refuse: finished rows are not measured here."""
    raise SystemExit("finished rows are not measured here")


def worker() -> None:
    """Run the backend's workers until they are asked to stop."""
    from django.core.management import call_command

    from bench.task_backends.backends import BACKEND, BACKENDS

    backend = BACKENDS[os.environ[BACKEND]]
    if backend.processes == 1 or sys.argv[1] == _ONE_WORKER:
        call_command(*backend.command)
        return
    command = [sys.executable, __file__, _ONE_WORKER]
    workers = [subprocess.Popen(command) for _ in range(backend.processes)]

    def stop(number: int, frame: Any) -> None:
        for process in workers:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
    sys.exit(max(process.wait() for process in workers))


def main() -> None:
    """Run the verb in the first argument."""
    sys.path[:1] = [str(ROOT)]  # instead of the folder of this file
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    os.environ["DJANGO_SETTINGS_MODULE"] = "bench.task_backends.settings"
    import django

    django.setup()
    if sys.argv[1] == _ONE_WORKER:
        worker()
        return
    from bench import verbs

    verbs.main(setup, one, bulk, retain, worker)


if __name__ == "__main__":
    main()
