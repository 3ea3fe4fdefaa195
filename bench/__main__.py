"""Measure django-partisan, alone or beside the peers in one run, and print tables.

Alone, it uses an embedded, durable PostgreSQL, or the server in DATABASE_URL (where it creates and drops the
database `partisan_bench`). With --peers DIR, the peers' harness in DIR starts its own servers; PEERS_ENVS is
the folder of its environments.
"""

import argparse
import signal
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from bench import alone, beside, charts, report
from bench.plan import Plan
from bench.scenarios import SCENARIOS
from bench.variant import notes

CONDITIONS = ("retain", "prune", "ahead", "held", "managers")
"""The options that set the conditions of a drain."""
CONDITIONS_OF_PEERS = ("retain",)


def main(words: Sequence[str] | None = None) -> int:
    """Run the measurements of the command line; return 1 if one failed."""
    arguments = _arguments(words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    plan = Plan(
        arguments.scenarios, arguments.n, arguments.variants, arguments.reps, arguments.cap, arguments.retain,
        arguments.prune, arguments.ahead, arguments.held, arguments.managers, arguments.output,
    )  # fmt: skip
    if arguments.peers:
        head, measurements, seen = beside.run(plan, arguments.peers, arguments.subjects)
    else:
        head, measurements, seen = alone.run(plan)
    print("\n" + head)
    print(report.tables(measurements))
    for file in charts.write(measurements, arguments.charts):
        print(f"Chart: {file}")
    for sight in seen:
        print(sight)
    used = {m.subject.partition(":")[2] for m in measurements if m.is_ours}
    for name in [name for name in notes() if name in used]:
        print(f"partisan2:{name} - {notes()[name]}")
    return int(any(m.error for m in measurements) or any(sight.missing() for sight in seen))


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line; refuse conditions of drains where they would have no effect."""
    parser = _parser()
    arguments = parser.parse_args(words)
    given = [name for name in CONDITIONS if getattr(arguments, name) != parser.get_default(name)]
    if given and set(arguments.scenarios) != {"drain"}:
        parser.error(f"{_options(given)}: only for the scenario drain; add --scenarios drain")
    ours = [name for name in given if name not in CONDITIONS_OF_PEERS]
    if arguments.peers and ours:
        parser.error(f"{_options(ours)}: only without peers; leave out --peers")
    return arguments


def _options(names: Sequence[str]) -> str:
    return ", ".join(f"--{name}" for name in names)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--peers", type=_folder, metavar="DIR", help="the peers' harness (default: without peers)")
    add(
        "--subjects",
        type=lambda text: text.split(","),
        metavar="A:V,B:V",
        help="the peers to measure, each with its variant",
    )
    add("--scenarios", type=_words_among(SCENARIOS), default=tuple(SCENARIOS), help=", ".join(SCENARIOS))
    add("--variants", type=_words_among(notes()), help="of django-partisan: " + ", ".join(notes()))
    add("--n", type=_sizes, metavar="N,N", help="tasks of a drain; default 20000,200000")
    add("--reps", type=int, default=3, help="repetitions of each (default 3)")
    add("--cap", type=float, default=30, help="end a drain this many seconds after its first task")
    add("--prune", type=int, default=0, metavar="N", help="drain while N old finished tasks are pruned")
    add("--retain", type=int, default=0, metavar="N", help="drain beside N finished tasks")
    add(
        "--ahead", type=int, default=0, metavar="N", help="drain beside N tasks scheduled ahead at priority 0"
    )
    add(
        "--managers",
        type=_managers,
        default=1,
        metavar="N",
        help="drain by N managers of one queue (default 1)",
    )
    add("--held", action="store_true", help="drain while another session holds a transaction open")
    add(
        "--charts",
        type=Path,
        default=Path("build/bench"),
        metavar="DIR",
        help="where to draw the charts (SVG)",
    )
    add("--output", type=Path, metavar="FILE", help="append every measurement to FILE as a line of JSON")
    return parser


def _folder(text: str) -> Path:
    if not (Path(text) / "run.py").exists():
        raise argparse.ArgumentTypeError(f"{text!r} has no run.py")
    return Path(text)


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def _managers(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} managers; expected at least 1")
    return number


def _words_among(known: Collection[str]) -> Callable[[str], list[str]]:
    def words(text: str) -> list[str]:
        found = text.split(",")
        unknown = [word for word in found if word not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
        return found

    return words


if __name__ == "__main__":
    sys.exit(main())
