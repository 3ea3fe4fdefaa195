"""`python -m demo`: enqueue all tasks, run them with a manager, and print a summary."""

import time
from pathlib import Path

from demo import accounting, enqueue, progress
from demo.processes import Child, Children
from demo.progress import Terminal
from demo.summary import print_summary, print_telemetry, print_what_next
from demo.telemetry import Telemetry, follow_one, watched
from django_partisan.models import Task

STALLED_SECONDS = 120.0
"""The manager is stopped after this many seconds in which no task ends or is retried.

A slow machine takes longer overall, but not this long between two tasks.
"""

POLL_SECONDS = 0.25

# start_partisan --until-empty: all tasks completed, or some failed. The task of the broken file fails.
GOOD_EXIT_CODES = (0, 2)


def run(terminal: Terminal, output: Path, files: int | None) -> int:
    """Run all tasks and return the exit code: 1 if any task is unaccounted for."""
    with watched(output) as telemetry:
        ids, seconds = enqueue.everything(files, output)
        terminal.print_line(
            f"Enqueued {len(ids)} tasks in {seconds:.2f} s. Starting a manager and its workers."
        )
        with Children() as children:
            command = ("start_partisan", "--until-empty", *telemetry.options)
            ended_well = _follow(
                terminal, children.start("manager", output / "manager.log", *command), telemetry
            )
    account = accounting.compare_outcomes(ids)
    timing = accounting.take_times(Task.objects.filter(pk__in=ids))
    print_summary(terminal, account, timing, output)
    print_telemetry(terminal, telemetry, follow_one(telemetry))
    print_what_next(terminal)
    return 0 if ended_well and not account.unaccounted else 1


def _follow(terminal: Terminal, manager: Child, telemetry: Telemetry) -> bool:
    """Show the progress until the manager ends; return whether it ended as expected."""
    moved, moved_at = 0, time.monotonic()
    while (code := manager.exit_code()) is None:
        telemetry.scrape()
        now = progress.counts()
        if now.done + now.retries != moved:
            moved, moved_at = now.done + now.retries, time.monotonic()
        if time.monotonic() > moved_at + STALLED_SECONDS:
            terminal.print_line(f"No task has ended for {STALLED_SECONDS:.0f} s: stopping the manager.")
            return False
        terminal.update(f"{progress.bar(now)}  {progress.line(now)}")
        time.sleep(POLL_SECONDS)
    terminal.close_line()
    if code not in GOOD_EXIT_CODES:
        terminal.print_line(f"The manager exited with code {code}. The end of {manager.log}:")
        terminal.print_line(manager.log_end())
    return code in GOOD_EXIT_CODES
