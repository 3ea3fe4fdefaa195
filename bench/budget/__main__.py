"""Count what a task costs, compare it with its budget, and fail if it grew.

It counts SQL statements, transactions that wrote, bytes of WAL, messages between manager and workers, wakeups
of the manager's loop, and Python instructions. This is work and not time, so the result is the same on fast,
slow and busy machines. Manager, workers and PostgreSQL are real, but manager and workers run in lockstep, one
thread at a time, by a simulated clock: see bench/budget/lockstep.py.

The budgets are in bench/budget/budget.md. Each figure has a margin, in bench/budget/figures.py.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import django

from bench.budget import budget_file
from bench.budget.comparison import compare, report, updated
from bench.budget.counting import HANGS_SECONDS
from bench.budget.figures import SCENARIOS, VARIANTS, Environment
from bench.budget.scenario_counter import LOG, URL
from bench.database import Database
from bench.recorder import FOLDER
from bench.variant import PREFIX, environments
from tools import postgres

EPILOG: Final = """\
exit codes:
  0  every figure is within its budget, shrank, or has no budget in this environment
  1  a figure grew by more than its margin, was lost (0, but its budget is more) or is no longer counted,
     or counting failed

examples:
  make budget                                       count and compare
  make budget UPDATE=yes                            count and write the budgets, to be committed
  python -m bench.budget --scenarios latency        one scenario, while you work on it
  python -m bench.budget --budget /tmp/before.md    compare with other budgets

To compare two versions of the code, write the budgets of one into another file, with --budget FILE --update,
then count the other one with --budget FILE.
"""
SETTINGS: Final = {
    "autovacuum": "off",
    "checkpoint_timeout": "1d",
    "max_wal_size": "10GB",
}
"""Settings of PostgreSQL, so that its background processes write nothing while the work is counted."""
COUNTING_SECONDS: Final = HANGS_SECONDS + 30.0
"""How long a counting process may take. If it hangs, it ends earlier and prints where."""

Count: TypeAlias = Callable[[Sequence[str]], dict[budget_file.Key, float]]


class CountingFailed(Exception):
    """The counting process failed; the message is its output."""


def main(line: Sequence[str] | None = None, count: Count | None = None) -> int:
    """Execute the command line and return the exit code. `count` replaces the counting in tests."""
    arguments = _parser().parse_args(line)
    try:
        budget = budget_file.read(arguments.budget)
        found = (count or counted)(arguments.scenarios)
    except (CountingFailed, budget_file.BadBudget, postgres.ProgramsNotFound, postgres.ServerError) as error:
        print(error, file=sys.stderr)
        return 1
    text, code = report(compare(budget, found))
    print(text)
    if arguments.update:
        budget_file.write(updated(budget, found), arguments.budget)
        print(f"\nWrote {arguments.budget}.")
        return 0
    return code


def counted(scenarios: Sequence[str]) -> dict[budget_file.Key, float]:
    """Count scenarios, with one process per variant, and return the counts as budgets."""
    counts: dict[str, Mapping[str, float]] = {}
    with _server() as (environment, variables):
        for variant, names in VARIANTS.items():
            if chosen := [name for name in names if name in scenarios]:
                counts.update(counted_by_process(chosen, {**variables, **environments()[variant]}))
    return budget_file.keyed(counts, environment)


@contextmanager
def _server() -> Iterator[tuple[Environment, dict[str, str]]]:
    """Yield the environment of the figures, and the variables with the server for counting processes."""
    with (
        postgres.server(settings=SETTINGS) as server,
        tempfile.TemporaryDirectory(prefix="budget-") as folder,
    ):
        database = Database(server.url)
        try:
            yield (
                _environment(database),
                {
                    **database.environment(),
                    URL: server.url,
                    LOG: str(server.log_path),
                    FOLDER: folder,
                    "TMPDIR": folder,
                    "PYTHONHASHSEED": "0",  # the order of sets decides the number of instructions
                },
            )
        finally:
            database.close()


def _environment(database: Database) -> Environment:
    python = ".".join(platform.python_version_tuple()[:2])
    framework = ".".join(map(str, django.VERSION[:2]))
    return Environment(python, framework, database.settings()["server_version"].split(".")[0])


def counted_by_process(
    scenarios: Sequence[str], variables: Mapping[str, str], seconds: float = COUNTING_SECONDS
) -> dict[str, Any]:
    """Count scenarios in a new process. Raise `CountingFailed` if it fails or takes too long."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "OTEL_", "PEERS_", PREFIX)) and name != "DATABASE_URL"
    }
    try:
        done = subprocess.run(
            [sys.executable, "-m", "bench.budget.counting", *scenarios],
            cwd=Path(__file__).parents[2],
            env={**inherited, **variables},
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired as error:
        raise CountingFailed(f"Counting {', '.join(scenarios)} did not end within {seconds:g} s.") from error
    if done.returncode:
        raise CountingFailed(f"Counting {', '.join(scenarios)} failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.budget",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--scenarios",
        nargs="+",
        default=list(SCENARIOS),
        choices=list(SCENARIOS),
        metavar="SCENARIO",
        help=f"count only these: {', '.join(SCENARIOS)}",
    )
    parser.add_argument(
        "--budget",
        type=Path,
        default=budget_file.PATH,
        metavar="FILE",
        help="the file of budgets (default: bench/budget/budget.md)",
    )
    parser.add_argument("--update", action="store_true", help="write the counts into the file of budgets")
    return parser


if __name__ == "__main__":
    sys.exit(main())
