"""Measure how fast tasks are claimed and settled in large tables, in one session and without a manager.

cases:
  plain        the table has no other rows
  waiting      N more tasks of the same queue and priority wait behind the claimed ones
  scheduled    N tasks of the highest priority are scheduled for tomorrow
  finished     N finished tasks are kept
  transaction  another session has held a transaction open while tasks were run for some seconds
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench import machine, processes
from bench.alone import database_server
from bench.database import Database
from bench.in_process import set_up
from bench.measurement import Failed
from bench.rows import FINISHED, SCHEDULED_FIRST_IN_LINE, WAITING
from bench.variant import notes

EPILOG: Final = """\
Each case starts with a fresh table, which is vacuumed and analyzed. Then --tasks tasks are claimed, --claim
at a time, and settled by the settings of --variant. Compare only rates of the same run: "of plain" is the
ratio to the case plain of the same repetition, as the median of the repetitions.

examples:
  python -m bench.scale                                              a few seconds, to check that it works
  python -m bench.scale --rows 1000000 --tasks 100000 --open-seconds 300 --reps 3
  python -m bench.scale --rows 10000000 --cases plain waiting finished --tasks 100000
"""
MIB: Final = 1 << 20
_SIZES: Final = "SELECT pg_table_size('django_partisan_task'), pg_indexes_size('django_partisan_task')"


@dataclass(frozen=True)
class Options:
    """The options of the command line."""

    rows: int
    tasks: int
    claim: int
    open_seconds: float


@dataclass(frozen=True)
class Result:
    """The result of one case."""

    rate: float
    claims_ms: list[float]
    server_us: float | None
    table_mib: float
    index_mib: float


class Session:
    """The connection and the lease for claiming and settling tasks."""

    def __init__(self) -> None:
        from django_partisan.config.queues import queue_config
        from django_partisan.models import ManagerLease
        from django_partisan.sql.connection import open_connection

        self.config = queue_config()
        lease = ManagerLease.objects.create(
            queue_name=self.config.queue,
            host="bench",
            pid=os.getpid(),
            lock_name=uuid.uuid4(),
            lease_seconds=86400,
        )
        self._manager = lease.pk
        self._connection = open_connection("bench")

    def work(self, tasks: int, size: int) -> list[float]:
        """Claim and settle tasks; return the milliseconds of each claim."""
        from django_partisan.engine.manager.claim_cursor import ClaimCursor
        from django_partisan.sql.claiming import claim
        from django_partisan.sql.tokens import new_token

        cursor, took = ClaimCursor(), []
        while tasks > 0:
            begun = time.perf_counter()
            behind = cursor.start(time.monotonic())
            rows = claim(
                self._connection, self.config.queue, self._manager, new_token(), min(size, tasks), behind
            )
            seconds = time.perf_counter() - begun
            took.append(1000 * seconds)
            cursor.claimed(seconds, behind is None)
            if not rows:
                raise Failed(f"{tasks} tasks were not found by a claim")
            cursor.move_behind(rows[-1])
            self._settle(rows)
            tasks -= len(rows)
        return took

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _settle(self, rows: list[Any]) -> None:
        from django_partisan.sql.claiming import ID, TOKEN
        from django_partisan.sql.settling import delete_completed, finish_completed

        if self.config.delete_tasks_on_complete:
            delete_completed(self._connection, [(row[ID], row[TOKEN]) for row in rows])
        else:
            finish_completed(self._connection, [(row[ID], row[TOKEN], 0, "bench:0", None) for row in rows])


def _waiting(database: Database, options: Options) -> AbstractContextManager[None]:
    database.run(WAITING, options.claim + options.tasks + options.rows)
    return nullcontext()


def _scheduled(database: Database, options: Options) -> AbstractContextManager[None]:
    database.run(SCHEDULED_FIRST_IN_LINE, options.rows)
    return nullcontext()


def _finished(database: Database, options: Options) -> AbstractContextManager[None]:
    database.run(FINISHED, options.rows)
    return nullcontext()


@contextmanager
def _transaction(database: Database, options: Options) -> Iterator[None]:
    with database.held_open():
        end = time.monotonic() + options.open_seconds
        with closing(Session()) as session:
            while time.monotonic() < end:
                database.run(WAITING, options.claim)
                session.work(options.claim, options.claim)
        yield


CASES: Final[Mapping[str, Callable[[Database, Options], AbstractContextManager[None]]]] = {
    "plain": lambda database, options: nullcontext(),
    "waiting": _waiting,
    "scheduled": _scheduled,
    "finished": _finished,
    "transaction": _transaction,
}


def main() -> None:
    """Measure the cases of the command line and print a table."""
    arguments = _parser().parse_args()
    options = Options(arguments.rows, arguments.tasks, arguments.claim, arguments.open_seconds)
    results: dict[str, list[Result]] = {name: [] for name in arguments.cases}
    with tempfile.TemporaryDirectory(prefix="partisan-scale-") as folder, database_server() as database:
        set_up(database, arguments.variant, Path(folder))
        print(
            machine.describe(
                database.settings(), f"{options.rows:,} rows beside, {arguments.reps} repetitions"
            )
        )
        for repetition in range(arguments.reps):
            for name in arguments.cases:
                results[name].append(_measure(database, name, options))
                print(f"{repetition + 1} {name}: {results[name][-1].rate:,.0f} tasks/s", flush=True)
    print("\n" + _table(results))


def _measure(database: Database, name: str, options: Options) -> Result:
    database.run("TRUNCATE django_partisan_task, django_partisan_manager RESTART IDENTITY")
    with CASES[name](database, options):
        if name != "waiting":
            database.run(WAITING, options.claim + options.tasks)
        database.vacuum()
        with closing(Session()) as session:
            session.work(options.claim, options.claim)  # connects, and does what only a first claim does
            before, begun = _server_seconds(database), time.perf_counter()
            claims = session.work(options.tasks, options.claim)
            seconds = time.perf_counter() - begun
            after = _server_seconds(database)
        with database.cursor() as cursor:
            cursor.execute(_SIZES)
            table, indexes = cursor.fetchone()
    server = None if before is None or after is None else 1e6 * (after - before) / options.tasks
    return Result(options.tasks / seconds, claims, server, table / MIB, indexes / MIB)


def _server_seconds(database: Database) -> float | None:
    return processes.cpu_seconds([database.pid]) if database.pid else None


def _table(results: Mapping[str, list[Result]]) -> str:
    headings = ["case", "tasks/s", "of plain", "claim p50 ms", "claim max ms", "server CPU us/task"]
    headings += ["table MiB", "indexes MiB"]
    lines = ["| " + " | ".join(headings) + " |", "|" + "---|" * len(headings)]
    for name, found in results.items():
        claims = [ms for result in found for ms in result.claims_ms]
        server = [result.server_us for result in found if result.server_us is not None]
        plain = results.get("plain", [])
        ratios = [one.rate / other.rate for one, other in zip(found, plain, strict=False)]
        cells = [
            name,
            f"{statistics.median(result.rate for result in found):,.0f}",
            f"{statistics.median(ratios):.2f}" if ratios else "-",
            f"{statistics.median(claims):.1f}",
            f"{max(claims):.1f}",
            f"{statistics.median(server):.1f}" if server else "-",
            f"{found[-1].table_mib:.1f}",
            f"{found[-1].index_mib:.1f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.scale",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--cases", nargs="+", choices=list(CASES), default=list(CASES), metavar="CASE", help="default: all")
    add("--rows", type=int, default=20_000, metavar="N", help="other rows (default: %(default)s)")
    add("--tasks", type=int, default=20_000, help="tasks claimed in each case (default: %(default)s)")
    add("--claim", type=int, default=2_000, help="tasks of one claim (default: %(default)s)")
    add(
        "--open-seconds",
        type=float,
        default=3.0,
        metavar="S",
        help="how long tasks run beside the open transaction before measuring (default: %(default)s)",
    )
    add("--reps", type=int, default=1, help="repetitions of all cases (default: %(default)s)")
    add("--variant", choices=list(notes()), default="tuned", help="settings (default: %(default)s)")
    return parser


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(str(error))
