"""Show queues, managers, running tasks and failures, or why one task waits."""

import argparse
import json
import os
import shutil
import sys
import time
from contextlib import closing
from typing import Any, Final

from django.core.management.base import CommandError
from django.db import Error

from django_partisan.exceptions import PartisanError
from django_partisan.formatting import printable
from django_partisan.management.operator_command import OperatorCommand
from django_partisan.management.status.document import as_json
from django_partisan.management.status.exposition import as_exposition
from django_partisan.management.status.report import StatusReport, read_report
from django_partisan.management.status.text import WIDTH, as_text
from django_partisan.management.times import DURATION, duration
from django_partisan.sql.connection import open_connection
from django_partisan.sql.refusals import refusal_of_command
from django_partisan.why import explain

WATCH_SECONDS: Final = 2.0
WATCH_SECONDS_MIN: Final = 0.2
TABLE: Final = "table"
JSON: Final = "json"
PROMETHEUS: Final = "prometheus"
REDRAW: Final = "\x1b[H\x1b[J"

EPILOG: Final = f"""\
Managers report their runs with each heartbeat, and every 2 s while any run has been going for more than 1 s.
Counts above 100000 are estimates.
SECONDS is {DURATION}.

examples:
  manage.py partisan_status                         all queues, managers on all hosts, running tasks
  manage.py partisan_status --watch                 the same output, every 2 s until Ctrl-C
  manage.py partisan_status --task 4711             why this task waits, or what it does
  manage.py partisan_status --format json | jq '.queues[] | select(.due > 0)'
"""


class Command(OperatorCommand):
    """Show the status; see ``--help``."""

    help = (
        "Show queues, managers on all hosts, running tasks and failures. With --task, show why a task waits."
    )
    epilog = EPILOG

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options for the contents and the format."""
        parser.add_argument("--queue-name", "--queue_name", metavar="NAME", help="show only this queue")
        parser.add_argument("--task", type=int, metavar="ID", help="explain one task in a sentence")
        parser.add_argument(
            "--watch", nargs="?", type=_interval, const=WATCH_SECONDS, metavar="SECONDS",
            help=f"repeat the output at this interval ({WATCH_SECONDS:g} s if none is given)",
        )  # fmt: skip
        parser.add_argument(
            "--format",
            choices=(TABLE, JSON, PROMETHEUS),
            default=TABLE,
            help="format of the output, by default %(default)s",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Show the status once or, with ``--watch``, until interrupted."""
        if options["task"] is not None and options["format"] == PROMETHEUS:
            raise CommandError("--task has no output for Prometheus; use --format table or json.")
        interval = options["watch"]
        try:
            self._show(options)
            while interval is not None:
                time.sleep(interval)
                self._show(options)
        except KeyboardInterrupt:
            return
        except BrokenPipeError:  # for example "| head": the reader has ended
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _show(self, options: dict[str, Any]) -> None:
        is_watching = options["watch"] is not None
        try:
            lines = self._lines(options)
        except PartisanError as error:  # an unknown queue or wrong settings, which do not go away
            raise CommandError(str(error)) from error
        except CommandError as error:
            if not is_watching:
                raise
            lines = [str(error)]
        if is_watching and self.stdout.isatty():
            rows = shutil.get_terminal_size().lines - 1
            self.stdout.write(REDRAW + "\n".join(lines[:rows]))
        else:
            end = "\n\n" if is_watching else "\n"
            self.stdout.write("\n".join(lines), ending=end)
        self.stdout.flush()

    def _lines(self, options: dict[str, Any]) -> list[str]:
        """Return the lines to show now."""
        task_id = options["task"]
        with closing(open_connection("status")) as connection:
            try:
                if task_id is None:
                    return self._written(read_report(connection, options["queue_name"]), options["format"])
                text = explain(connection, task_id)
            except Error as error:
                raise CommandError(refusal_of_command(connection, error)) from error
        if options["format"] == JSON:
            return [json.dumps({"task": task_id, "why": text})]
        return [printable(text)]

    def _written(self, report: StatusReport, chosen: str) -> list[str]:
        if chosen == JSON:
            return as_json(report).split("\n")
        if chosen == PROMETHEUS:
            lines = as_exposition(report).removesuffix("\n").split("\n")
            return [*map(printable, lines)] if self.stdout.isatty() else lines
        width = shutil.get_terminal_size().columns if self.stdout.isatty() else WIDTH
        return as_text(report, width)


def _interval(text: str) -> float:
    return max(duration(text), WATCH_SECONDS_MIN)
