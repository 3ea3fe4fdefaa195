"""However many enqueue at once, only one task with the same parameters waits."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Barrier
from typing import IO, cast

import pytest
from django.db import connection, connections

from django_partisan.models import Task
from django_partisan.processor import bulk_delay
from tests.support.commands import ROOT
from tests.support.registry import Idle

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 8
PROCESSES = 2
TIMES = 25
DEADLINE_SECONDS = 60

# Prints that it is ready, waits for the end of its input, enqueues, and prints the ids.
PROGRAM = """
import sys
from django.conf import settings
settings.DATABASES["default"]["NAME"] = sys.argv[1]
import django
django.setup()
from django.db import connection
from django_partisan import registry
from django_partisan.processor import BaseTaskProcessor

@registry.register
class Racing(BaseTaskProcessor):
    def run(self): ...

connection.ensure_connection()
print("ready", flush=True)
sys.stdin.readline()
print({Racing("once", only=True).delay().pk for _ in range(int(sys.argv[2]))})
connection.close()
"""


class Racing(Idle):
    pass


def start_program(go: int) -> subprocess.Popen[str]:
    """Start a process that prints when it is ready, enqueues when ``go`` ends, and prints the ids."""
    command = [sys.executable, "-c", PROGRAM, connection.settings_dict["NAME"], str(TIMES)]
    return subprocess.Popen(command, cwd=ROOT, stdin=go, stdout=subprocess.PIPE, text=True)


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
    go, start_all = os.pipe()
    with ExitStack() as stack:
        programs = [stack.enter_context(start_program(go)) for _ in range(PROCESSES)]
        for program in programs:
            stack.callback(program.kill)
        outputs = [cast(IO[str], program.stdout) for program in programs]
        assert [output.readline() for output in outputs] == ["ready\n"] * PROCESSES

        barrier = Barrier(THREADS, action=lambda: os.close(start_all))
        ids = run_in_threads(
            lambda number: {Racing("once", only=True).delay().pk for _ in range(TIMES)}, barrier
        )
        said = [output.read() for output in outputs]
    os.close(go)

    [task] = Task.objects.all()
    assert ids == {task.pk}
    assert said == [f"{{{task.pk}}}\n"] * PROCESSES


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


def test_bulk_delays_of_the_same_tasks_in_opposite_orders_do_not_deadlock():
    numbers = range(100)

    def act(number: int) -> set[int]:
        order = numbers[::-1] if number % 2 else numbers
        ids = {tuple(bulk_delay([Racing(which) for which in order])[:: -1 if number % 2 else 1])}
        for _ in range(TIMES - 1):
            ids.add(tuple(bulk_delay([Racing(which) for which in order])[:: -1 if number % 2 else 1]))
        [of_the_numbers] = ids
        return set(of_the_numbers)

    ids = run_in_threads(act, Barrier(4))

    assert ids == set(Task.objects.values_list("pk", flat=True))
    assert len(ids) == len(numbers)
