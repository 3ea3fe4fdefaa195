"""However many ask at once, one task of one set of parameters waits."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from django.db import connection, connections

from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor, bulk_delay

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[3]
THREADS = 8
PROCESSES = 2
TIMES = 25
DEADLINE_SECONDS = 60

# Says that it is ready, waits for a line, enqueues, and says the ids that it was given.
PROGRAM = """
import sys
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
import django
django.setup()
from django.db import connection
from django_partisan.processor import BaseTaskProcessor

class Racing(BaseTaskProcessor):
    pass

connection.ensure_connection()
print("ready", flush=True)
sys.stdin.readline()
print({Racing("once", only=True).delay().pk for _ in range(int(sys.argv[2]))})
connection.close()
"""


class Racing(BaseTaskProcessor):
    pass


class Program:
    """A process that enqueues when told, and says the ids that it was given."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, connection.settings_dict["NAME"], str(TIMES)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout

    def wait_until_ready(self) -> None:
        assert self._out.readline() == "ready\n"

    def start(self) -> None:
        self._in.write("\n")
        self._in.flush()

    def ids(self) -> str:
        return self._process.communicate(timeout=DEADLINE_SECONDS)[0].strip()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        self._in.close()
        self._out.close()


def run_in_threads(act: Callable[[int], set[int]], barrier: Barrier) -> set[int]:
    def work(number: int) -> set[int]:
        try:
            connection.ensure_connection()
            barrier.wait(DEADLINE_SECONDS)
            return act(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(barrier.parties) as threads:
        return set().union(*threads.map(work, range(barrier.parties)))


def test_racing_delays_from_8_threads_and_2_processes_give_one_waiting_task(monkeypatch):
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "tests.settings")
    programs = [Program() for _ in range(PROCESSES)]
    try:
        for program in programs:
            program.wait_until_ready()

        def start_all() -> None:
            for program in programs:
                program.start()

        barrier = Barrier(THREADS, action=start_all)
        ids = run_in_threads(
            lambda number: {Racing("once", only=True).delay().pk for _ in range(TIMES)}, barrier
        )
        said = [program.ids() for program in programs]
    finally:
        for program in programs:
            program.end()

    [task] = Task.objects.all()
    assert ids == {task.pk}
    assert said == [f"{{{task.pk}}}"] * PROCESSES


def test_racing_delays_and_bulk_delays_give_one_waiting_task_for_each_set_of_parameters():
    def act(number: int) -> set[int]:
        ids: set[int] = set()
        for _ in range(TIMES):
            if number % 2:
                ids.update(bulk_delay([Racing(1), Racing(2), Racing(3)]))
            else:
                ids.update(Racing(which).delay().pk for which in (3, 2, 1))
        return ids

    ids = run_in_threads(act, Barrier(4))

    assert ids == set(Task.objects.values_list("pk", flat=True))
    assert len(ids) == 3
