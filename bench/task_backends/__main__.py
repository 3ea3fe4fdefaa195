"""Measure backends of Django's task framework in one interleaved run, and print tables.

Each runs with its defaults and two workers; "processors" runs the same body as a processor, not through a
backend. Django 6 is needed, with Python 3.12 or newer. Backends that are not installed are left out, with a
message. To create an environment with all of them, in a clone:

    python3.13 -m venv build/backends
    build/backends/bin/pip install --editable '.[embedded]' django-ox django-tasks-db
    build/backends/bin/python -m bench.task_backends --n 2000 --reps 7

The tables show medians, each with its ratio to the best other backend. A slow backend does not finish a large
drain within --cap; its rate is that of the tasks that it ran until then. So a comparison of the fast backends
needs a separate, longer run:

    build/backends/bin/python -m bench.task_backends --backends partisan processors --n 50000 --reps 7
"""

import argparse
import os
import random
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from bench import alone, machine, report
from bench.database import Database
from bench.measurement import Failed, Measurement
from bench.scenarios import SCENARIOS, Options
from bench.subject import Subject
from bench.task_backends.backends import BACKEND, BACKENDS

_ADAPTER: Final = Path(__file__).with_name("adapter.py")
_SIZES: Final = {"drain": 2_000, "latency": 200, "enqueue": 3_000}


class BackendSubject(Subject):
    """A backend that is run through its adapter."""

    def __init__(self, name: str, database: Database, folder: Path) -> None:
        super().__init__("default", database, folder, {BACKEND: name})
        self.name = name

    def is_settled(self) -> bool:
        """Return whether no task is waiting or running."""
        return not self.database.value(BACKENDS[self.name].pending)

    def _command(self, *arguments: object) -> list[str]:
        return [sys.executable, str(_ADAPTER), *map(str, arguments)]


def main() -> int:
    """Run the measurements of the command line; return 1 if one failed."""
    arguments = _parser().parse_args()
    if find_spec("django.tasks") is None:
        print("Django 6 is needed, on Python 3.12 or newer; see --help.", file=sys.stderr)
        return 1
    names = [name for name in arguments.backends if BACKENDS[name].is_installed]
    if missing := [name for name in arguments.backends if name not in names]:
        print(f"not installed, left out: {', '.join(missing)}", file=sys.stderr)
    measurements = []
    with tempfile.TemporaryDirectory(prefix="partisan-bench-") as folder, alone.database_server() as database:
        print(machine.describe(database.settings(), f"task backends, {arguments.reps} repetitions"))
        for scenario in arguments.scenarios:
            tasks = arguments.n if scenario == "drain" else _SIZES[scenario]
            options = Options(tasks, cap=arguments.cap)
            for repetition in range(arguments.reps):
                for name in random.sample(names, len(names)):
                    subject = BackendSubject(name, database, Path(folder))
                    measurements.append(_measure(subject, scenario, options, repetition))
                    print(measurements[-1], flush=True)
    print(report.tables(measurements))
    return int(any(measurement.error for measurement in measurements))


def _measure(subject: Subject, scenario: str, options: Options, repetition: int) -> Measurement:
    measurement = Measurement(
        scenario, subject.name, options.tasks, repetition, time.time(), os.getloadavg()[0]
    )
    try:
        measurement.figures = SCENARIOS[scenario](subject, options)
    except Failed as error:
        measurement.error = str(error)
    return measurement


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.task_backends",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add: Any = parser.add_argument
    add("--backends", nargs="+", choices=BACKENDS, default=list(BACKENDS), help="backends (default: all)")
    add("--scenarios", nargs="+", choices=_SIZES, default=["drain"], help="scenarios (default: drain)")
    add("--n", type=int, default=_SIZES["drain"], help="tasks of a drain (default 2000)")
    add("--reps", type=int, default=3, help="repetitions of each (default 3)")
    add("--cap", type=float, default=60, help="end a drain this many seconds after its first task")
    return parser


if __name__ == "__main__":
    sys.exit(main())
