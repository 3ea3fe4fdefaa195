"""Several processes that work on the same tasks concurrently, as threads with their own connections."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TypeAlias, TypeVar

from django.db import IntegrityError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan.sql.connection import open_connection

T = TypeVar("T")
Step: TypeAlias = Callable[[BaseDatabaseWrapper], None]

DEADLINE_SECONDS = 120


def race(steps: Sequence[Step], times: int) -> None:
    """Run every step ``times`` times, all steps concurrently; raise the first step's error."""
    barrier = Barrier(len(steps))

    def run(step: Step) -> None:
        own = open_connection("racer")
        try:
            own.ensure_connection()
            barrier.wait(DEADLINE_SECONDS)
            for _ in range(times):
                step(own)
        finally:
            own.close()

    with ThreadPoolExecutor(len(steps)) as threads:
        for racing in [threads.submit(run, step) for step in steps]:
            racing.result(DEADLINE_SECONDS)


def write_keys_if_possible(write: Callable[[bool], T]) -> T:
    """Execute a write that makes tasks wait again; if there are duplicates, write without the unique keys."""
    try:
        return write(True)
    except IntegrityError:
        return write(False)
