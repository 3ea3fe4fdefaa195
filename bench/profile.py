"""Profile the hot path: drain a backlog with probes in manager and workers.

    python -m bench.profile [--variant V] [--n N] [--probe calls|sample|steps] [--step MODULE:NAME]

Figures are microseconds per task, by process role and thread. A probed run is slower than the run without
probes before it: take proportions from the probed run, and rates and totals from the other one. `probes.py`
describes the probes.
"""

import argparse
import json
import pstats
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench import machine, probes
from bench.alone import database_server
from bench.measurement import Failed
from bench.scenarios import Options, drain
from bench.subject import Subject
from bench.variant import notes

Rows = list[tuple[str, float]]

OWN = "in the function itself"
TOLD = ("rate", "cpu_worker_us", "cpu_server_us", "foreign_cpu")
CAP_SECONDS = 120


def main() -> None:
    """Drain once with probes and print their results."""
    arguments = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="partisan-profile-") as name, database_server() as database:
        folder = arguments.keep or Path(name) / "probes"
        folder.mkdir(parents=True, exist_ok=True)
        environment = {
            probes.FOLDER: str(folder.resolve()),
            probes.PROBE: arguments.probe,
            probes.STEPS: ",".join(arguments.step),
        }
        print(
            machine.describe(database.settings(), f"drains of {arguments.n:,} tasks, probe {arguments.probe}")
        )
        options = Options(arguments.n, CAP_SECONDS)
        unprobed = drain(Subject(arguments.variant, database, Path(name)), options)
        figures = drain(Subject(arguments.variant, database, Path(name), environment), options)
        for kind, found in (("unprobed", unprobed), ("probed", figures)):
            print(
                f"{kind}: "
                + ", ".join(f"{key} {value:.2f}" for key in TOLD if (value := found[key]) is not None)
            )
        tasks = int(figures["ran"] or 1)
        if arguments.probe == probes.CALLS:
            _print_calls(folder, tasks, arguments.top)
        else:
            _print_places(folder, tasks, arguments.top)


def _print_places(folder: Path, tasks: int, top: int) -> None:
    by_role: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*.json")):
        told = json.loads(path.read_text())
        by_role.setdefault(told["role"], []).append(told)
    for role, found in by_role.items():
        cpu = sum(told["cpu_seconds"] for told in found)
        print(
            f"\n# {role}: {len(found)} processes, {1e6 * cpu / tasks:.2f} us/task in all (start-up included)"
        )
        for kind, heading in (
            ("own", OWN),
            ("inclusive", "with what it calls"),
            ("lines", "by line"),
        ):
            _print_kind(heading, [row for told in found for row in told.get(kind, ())], tasks, top)
        _print_steps([told["steps"] for told in found], tasks)


def _print_kind(heading: str, rows: Iterable[list[Any]], tasks: int, top: int) -> None:
    by_thread: dict[str, dict[str, float]] = {}
    for thread, place, seconds in rows:
        places = by_thread.setdefault(thread, {})
        places[place] = places.get(place, 0.0) + seconds
    for thread, places in by_thread.items():
        total = f" (sum {1e6 * sum(places.values()) / tasks:.2f})" if heading == OWN else ""
        print(f"\n## thread {thread}, {heading}, us/task{total}")
        for place, seconds in sorted(places.items(), key=lambda item: -item[1])[:top]:
            print(f"{1e6 * seconds / tasks:8.3f}  {place}")


def _print_steps(found: Iterable[dict[str, list[float]]], tasks: int) -> None:
    totals: dict[str, list[float]] = {}
    for steps in found:
        for place, values in steps.items():
            totals[place] = [a + b for a, b in zip(totals.get(place, [0, 0, 0]), values, strict=True)]
    if totals:
        print("\n## steps: calls, wall us/call, wall us/task, CPU us/task")
    for place, (calls, wall, cpu) in sorted(totals.items(), key=lambda item: -item[1][2]):
        each = [1e6 * wall / calls, 1e6 * wall / tasks, 1e6 * cpu / tasks]
        print(f"{calls:8.0f} {each[0]:9.1f} {each[1]:8.3f} {each[2]:8.3f}  {place}")


def _print_calls(folder: Path, tasks: int, top: int) -> None:
    by_role: dict[str, list[str]] = {}
    for path in sorted(folder.glob("*.prof")):
        by_role.setdefault(path.name.split(".")[0], []).append(str(path))
    for role, paths in by_role.items():
        timed: dict[Any, Any] = vars(pstats.Stats(*paths))["stats"]
        for heading, place in ((OWN, 2), ("with what it calls", 3)):
            print(f"\n# {role} ({len(paths)}), {heading}: us/task, calls/task")
            for function, values in sorted(timed.items(), key=lambda item: -item[1][place])[:top]:
                print(f"{1e6 * values[place] / tasks:9.3f} {values[1] / tasks:8.3f}  {_named(*function)}")


def _named(file: str, line: int, function: str) -> str:
    return function if file == "~" else f"{'/'.join(Path(file).parts[-2:])}:{line} {function}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench.profile",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--variant", choices=list(notes()), default="tuned")
    parser.add_argument("--n", type=int, default=200_000)
    parser.add_argument("--probe", choices=[probes.CALLS, probes.SAMPLE, "steps"], default=probes.CALLS)
    parser.add_argument(
        "--step", action="append", default=[], metavar="MODULE:NAME", help="a function to time"
    )
    parser.add_argument("--top", type=int, default=25)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the raw profiles in DIR")
    return parser


if __name__ == "__main__":
    try:
        main()
    except Failed as error:
        sys.exit(str(error))
