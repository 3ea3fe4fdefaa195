"""Time each step of the hot path separately, in one process and without overlap.

    python -m bench.steps [--n 50000] [--claim 2000] [--chunk 500] [--variant tuned]

It prints microseconds per task: wall time, client CPU and server CPU. The sum of the client's CPU time is the
minimum for manager and workers together.
"""

import argparse
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench import machine, processes
from bench.alone import database_server
from bench.in_process import set_up
from bench.variant import notes

BULK = 1_000


class Watch:
    """Totals of each step, in seconds: wall time, client CPU and server CPU."""

    def __init__(self, server: int | None) -> None:
        self.totals: dict[str, list[float]] = {}
        self._server = server

    @contextmanager
    def step(self, name: str, asks_server: bool = False) -> Iterator[None]:
        """Add the time of a `with` block to a step."""
        server = self._server_seconds() if asks_server else 0.0
        begun, cpu = time.perf_counter(), time.process_time()
        try:
            yield
        finally:
            wall, used = time.perf_counter() - begun, time.process_time() - cpu
            after = self._server_seconds() if asks_server else 0.0
            totals = self.totals.setdefault(name, [0.0, 0.0, 0.0])
            for place, value in enumerate((wall, used, after - server)):
                totals[place] += value

    def _server_seconds(self) -> float:
        return processes.cpu_seconds([self._server]) if self._server else 0.0


def main() -> None:
    """Enqueue a backlog, take it through all steps and print the table."""
    arguments = _parser().parse_args()
    with TemporaryDirectory(prefix="partisan-steps-") as folder, database_server() as database:
        options = f"{arguments.n:,} tasks, claims of {arguments.claim:,}, chunks of {arguments.chunk:,}"
        print(machine.describe(database.settings(), options))
        set_up(database, arguments.variant, Path(folder))
        watch = Watch(database.pid)
        _enqueue(watch, arguments.n)
        database.vacuum()
        tasks = _work(watch, arguments.claim, arguments.chunk)
    print("\n| step | wall us/task | client CPU | server CPU |\n|---|---|---|---|")
    for name, totals in watch.totals.items():
        print(f"| {name} | " + " | ".join(f"{1e6 * seconds / tasks:.2f}" for seconds in totals) + " |")
    chosen = [totals for name, totals in watch.totals.items() if name != "bulk_delay"]
    sums = [1e6 * sum(column) / tasks for column in zip(*chosen, strict=True)]
    print("| sum without bulk_delay | " + " | ".join(f"{value:.2f}" for value in sums) + " |")


def _enqueue(watch: Watch, tasks: int) -> None:
    from bench.app.partisan_tasks import Bench
    from django_partisan.processor import bulk_delay

    with watch.step("bulk_delay", asks_server=True):
        for start in range(0, tasks, BULK):
            bulk_delay([Bench(i=i, m=0) for i in range(start, min(tasks, start + BULK))])


def _work(watch: Watch, claim_size: int, chunk_size: int) -> int:
    from django_partisan.config.queues import queue_config
    from django_partisan.engine.pipe import Frames, frame
    from django_partisan.engine.protocol import Report, RunTasks
    from django_partisan.engine.worker.executor import Executor
    from django_partisan.models import ManagerLease
    from django_partisan.sql.claiming import ID, PRIORITY, TOKEN, claim
    from django_partisan.sql.connection import open_connection
    from django_partisan.sql.settling import delete_completed, finish_completed
    from django_partisan.sql.tokens import new_token

    config = queue_config()
    lease = ManagerLease.objects.create(
        queue_name=config.queue, host="bench", pid=os.getpid(), lock_name=uuid.uuid4(), lease_seconds=3600
    )
    connection = open_connection("bench")
    executor = Executor(config, 0, 0, {})
    behind: tuple[int, int] | None = None
    tasks = 0
    while True:
        with watch.step("claim, rows fetched", asks_server=True):
            rows = claim(connection, config.queue, lease.pk, new_token(), claim_size, behind)
        if not rows:
            return tasks
        behind = rows[-1][PRIORITY], rows[-1][ID]
        tasks += len(rows)
        for start in range(0, len(rows), chunk_size):
            chunk = rows[start : start + chunk_size]
            with watch.step("tasks into a frame (manager)"):
                message = frame(RunTasks(chunk, {}))
            with watch.step("tasks out of a frame (worker)"):
                (received,) = Frames().feed(message)
                assert isinstance(received, RunTasks)
            with watch.step("run: look up, decode, construct, empty body (worker)"):
                for row in received.rows:
                    executor.execute(row)
            with watch.step("report into a frame and out of it (both)"):
                ids = [row[ID] for row in received.rows]
                kept: list[tuple[int, int, str | None]] = [(task_id, 1_000_000_000, None) for task_id in ids]
                completed, kept = (ids, []) if config.delete_tasks_on_complete else ([], kept)
                Frames().feed(frame(Report(completed, kept, [], [], [], {}, [])))
        with watch.step("settle", asks_server=True):
            if config.delete_tasks_on_complete:
                delete_completed(connection, [(row[ID], row[TOKEN]) for row in rows])
            else:
                finish_completed(connection, [(row[ID], row[TOKEN], 0, "bench:0", None) for row in rows])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.steps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--variant", choices=list(notes()), default="tuned")
    parser.add_argument("--n", type=int, default=50_000)
    parser.add_argument("--claim", type=int, default=2_000)
    parser.add_argument("--chunk", type=int, default=500)
    return parser


if __name__ == "__main__":
    main()
