"""Inject random faults into a queue with real managers, and check that no guarantee was broken."""

import argparse
import signal
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from . import report, trial
from .faults import FAULTS
from .plan import FAULTS_PER_SECOND, make_plan
from .pooler import NOT_INSTALLED, find
from .processes import ROOT, has_host_names

EPILOG = """\
Each seed chooses managers, their settings, and faults with times and targets; the exact interleaving
depends on the machine. A trial starts its own PostgreSQL (fsync on), enqueues tasks of every kind from
several processes, injects the faults, waits until every task has ended, stops everything, and compares the
journals of all runs with the rows. docs/guarantees.md lists the guarantees.

faults:
{faults}

exit codes:
  0  no guarantee was broken
  1  a guarantee was broken; the report names it, the task, and the command that runs the seed again

examples:
  make chaos                                            30 seeds of 30 s
  make chaos SEEDS=3 SECONDS=20                         a short run
  make chaos SEEDS=2 SECONDS=240 MANAGERS=3             four minutes each, three managers on two hosts
  python -m tools.chaos --seed 7 --seconds 30           one seed again
  python -m tools.chaos --seed 7 --only kill_manager    with one kind of fault
  python -m tools.chaos --seed 7 --plan                 only print its plan
"""


def main(words: Sequence[str] | None = None) -> int:
    """Execute the command line and return the exit code."""
    parser = _parser()
    arguments = parser.parse_args(words)
    wrong = sorted(set(arguments.only) - FAULTS.keys())
    if wrong:
        parser.error(f"unknown fault {wrong[0]!r}; known: {', '.join(FAULTS)}")
    seeds = arguments.seed or list(range(1, arguments.seeds + 1))
    plans = [
        make_plan(
            seed, arguments.seconds, arguments.only, find() is not None, arguments.rate, arguments.managers
        )
        for seed in seeds
    ]
    if arguments.plan:
        print("\n".join(f"seed {plan.seed}\n{plan}" for plan in plans))
        return 0
    _say_what_is_missing()
    outcomes, failed = [], []
    for plan in plans:
        outcome = trial.run(plan, arguments.folder / f"seed-{plan.seed}")
        outcomes.append(outcome)
        details = "\n".join(report.details(outcome, _command(outcome, arguments)))
        # Each file has its own tables, because the program may be stopped before it prints those at the end.
        counts = "\n".join((*report.table([outcome]), "", *report.ticks([outcome])))
        (outcome.folder / "report.txt").write_text(f"{details}\n\n{counts}\n")
        print(report.line(outcome), flush=True)
        if outcome.violations:
            failed.append(details)
    print(*failed, sep="\n")
    print(*report.table(outcomes), "", *report.ticks(outcomes), "", report.summary(outcomes), sep="\n")
    return int(any(outcome.violations for outcome in outcomes))


def _say_what_is_missing() -> None:
    if not has_host_names():
        print("host names need root and `unshare --uts`: all managers run on one host", file=sys.stderr)
    if find() is None:
        print(f"{NOT_INSTALLED}: no manager runs behind it", file=sys.stderr)


def _command(outcome: trial.Outcome, arguments: argparse.Namespace) -> str:
    plan = outcome.plan
    chosen = "".join(f" --only {name}" for name in arguments.only)
    if arguments.rate != FAULTS_PER_SECOND:
        chosen += f" --rate {arguments.rate:g}"
    if arguments.managers is not None:
        chosen += f" --managers {arguments.managers}"
    return f"python -m tools.chaos --seed {plan.seed} --seconds {plan.seconds:g}{chosen}"


def _faults() -> str:
    return textwrap.fill(", ".join(FAULTS), 100, initial_indent="  ", subsequent_indent="  ")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.chaos", description=__doc__, epilog=EPILOG.format(faults=_faults()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--seeds", type=int, default=30, help="run the seeds 1 to SEEDS (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, action="append", help="run this seed; can be repeated")
    parser.add_argument(
        "--seconds",
        type=float,
        default=30.0,
        help="how long each seed enqueues tasks and injects faults (default: %(default)g)",
    )
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="FAULT",
        help="choose only faults of this kind; can be repeated",
    )
    parser.add_argument(
        "--rate",
        type=float,
        default=FAULTS_PER_SECOND,
        help="faults per second (default: %(default)g); fewer leave managers time to react",
    )
    parser.add_argument(
        "--managers", type=int, choices=(2, 3), help="number of managers (default: by the seed)"
    )
    parser.add_argument("--plan", action="store_true", help="print the plans and run nothing")
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "build" / "chaos",
        help="for journals and logs (default: build/chaos)",
    )
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that TERM leaves no manager behind
    sys.exit(main())
