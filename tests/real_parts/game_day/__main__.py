"""Inject every fault of the table, and check which alerts fire."""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.real_parts.game_day import report
from tests.real_parts.game_day.control_room import ControlRoom, control_room
from tests.real_parts.game_day.rows import CUT, ROWS
from tests.real_parts.game_day.trial import Result, carry_out
from tests.real_parts.game_day.verdict import Row
from tests.support.commands import ROOT
from tools import run_guard

AT_ONCE: Final = 4
EPILOG: Final = """\
Each row has a PostgreSQL, managers and load of its own. All share a real Prometheus with the shipped
rules, whose minutes are shortened to seconds, and a real Alertmanager with the shipped inhibition. They are
needed; on Debian: apt-get install prometheus prometheus-alertmanager.

exit codes:
  0  for each fault its alerts fired and no others, and all were resolved
  1  a row failed; its name is printed with the alerts that fired and those that should have

examples:
  make game-day                           all rows; writes docs/game-day.md if all are right
  make game-day ONLY=manager-killed       one row
  make game-day CUT=yes                   what .ci/run does
  python -m tests.real_parts.game_day --list
"""


def main(words: Sequence[str] | None = None) -> int:
    """Run what the command line requests, and return the exit code."""
    parser = _parser()
    options = parser.parse_args(words)
    if wrong := sorted(set(options.only) - ROWS.keys()):
        parser.error(f"unknown row {wrong[0]!r}; known: {', '.join(ROWS)}")
    rows = [ROWS[name] for name in dict.fromkeys(options.only) or (CUT if options.cut else ROWS)]
    if options.list:
        print(*(report.listed(row) for row in rows), sep="\n")
        return 0
    results = _run(rows, options.at_once, options.folder.resolve())
    print(report.summary(results))
    if any(result.problems for result in results):
        return 1
    if len(results) == len(ROWS):
        report.PAGE.write_text(report.page(results))
    return 0


def _run(rows: Sequence[Row], at_once: int, folder: Path) -> list[Result]:
    """Run rows, several at once; print each result when the row has ended."""
    results: dict[str, Result] = {}
    folder.mkdir(parents=True, exist_ok=True)
    with (
        _guarded(),
        control_room(_empty(folder / "control-room")) as room,
        ThreadPoolExecutor(at_once, "row") as pool,
    ):
        try:
            trials = {pool.submit(_carry_out, row, room, _empty(folder / row.name)): row for row in rows}
            for number, trial in enumerate(as_completed(trials), 1):
                result = trial.result()
                results[result.row.name] = result
                _say(f"{number:>2}/{len(rows)} {report.line(result)}")
        finally:
            room.is_closing.set()
            pool.shutdown(cancel_futures=True)
    return [results[row.name] for row in rows]


def _carry_out(row: Row, room: ControlRoom, folder: Path) -> Result:
    """Run a row; an exception becomes a problem of that row."""
    _say(f"      {row.name}: {row.fault}")
    try:
        return carry_out(row, room, folder)
    except Exception as error:
        return Result(row, (f"not carried out: {type(error).__name__}: {error}",))


def _say(text: str) -> None:
    """Print a line immediately and in one piece, because several rows print at the same time."""
    print(f"{text}\n", end="", flush=True)


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


@contextmanager
def _guarded() -> Iterator[None]:
    """Leave no process behind, however this process ends."""
    with run_guard.guarded() as variables:
        os.environ.update(variables)
        tempfile.tempdir = variables["TMPDIR"]
        yield


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.real_parts.game_day", description=__doc__, epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="ROW",
        help="carry out this row; may be given again",
    )
    which.add_argument("--cut", action="store_true", help=f"carry out these alone: {', '.join(CUT)}")
    parser.add_argument("--list", action="store_true", help="print the rows and carry out none")
    parser.add_argument(
        "--at-once",
        type=int,
        default=AT_ONCE,
        metavar="N",
        help="carry out this many rows at a time (default: %(default)s)",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=ROOT / "build" / "game-day",
        help="for logs (default: build/game-day)",
    )
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM, too, leaves no manager behind
    sys.exit(main())
