"""Delete rows of tasks that ended long ago."""

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any, Final

from django.core.management.base import CommandError

from django_partisan import processor_validation, retention
from django_partisan.config import queues
from django_partisan.config.problems import refuse
from django_partisan.exceptions import WrongSetting
from django_partisan.formatting import printable
from django_partisan.management.confirmation import add_confirmation, is_confirmed
from django_partisan.management.operator_command import OperatorCommand
from django_partisan.management.times import DURATION, duration
from django_partisan.models import Task
from django_partisan.pruning import count_all, prune_all
from django_partisan.retention import FOREVER, Rules
from django_partisan.sql.connection import task_connection
from django_partisan.sql.pruning import Batch, Walk, largest_id

ROWS_PER_SECOND: Final = 2000.0
PROGRESS_SECONDS: Final = 2.0
INTERRUPTED: Final = 130
"""The exit code after Ctrl-C, the same as for a program that the signal ended."""
STATUSES: Final = {"finished": Task.STATUS_FINISHED, "failed": Task.STATUS_ERROR}

EPILOG: Final = """\
Without --older-than, the command deletes the rows that managers would delete according to
KEEP_FINISHED_SECONDS and KEEP_FAILED_SECONDS of the processor or the queue. Rows of queues that the settings
do not name are deleted only with --queue-name or --older-than. Waiting and running tasks are never deleted.
No manager is needed. Cancelled and expired tasks count as failed tasks.

examples:
  manage.py partisan_prune --dry-run
  manage.py partisan_prune --status finished --older-than 30d --queue-name mail
  manage.py partisan_prune --status finished failed --older-than 365d --without-finished-at
"""


class Command(OperatorCommand):
    """Prune rows; see ``--help``."""

    help = (
        "Delete rows of tasks that ended long ago, after printing their number and asking for confirmation."
    )
    epilog = EPILOG

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that select rows, the rate, and the confirmation."""
        group = parser.add_argument_group("tasks", "Which tasks to select; a task must match all options.")
        group.add_argument(
            "--processor", metavar="NAME", help="only tasks of this processor (its registered name)"
        )
        group.add_argument("--queue-name", "--queue_name", metavar="NAME", help="only tasks of this queue")
        group.add_argument(
            "--status", nargs="+", choices=tuple(STATUSES), help="only tasks that ended in this way"
        )
        group.add_argument(
            "--older-than",
            "--older_than",
            type=duration,
            metavar="DURATION",
            help=f"only tasks that ended longer ago than this, regardless of the settings: {DURATION}; needs "
            "--status",
        )
        group.add_argument(
            "--without-finished-at",
            "--without_finished_at",
            action="store_true",
            help="only rows of version 1, which have no finished_at; needs --older-than, which then applies "
            "to the last change of a row",
        )
        parser.add_argument(
            "--rows-per-second",
            "--rows_per_second",
            type=_rate,
            default=ROWS_PER_SECOND,
            metavar="N",
            help="delete at most this many rows per second (default: 2000)",
        )
        add_confirmation(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        """Count unless ``--yes`` was given, ask, and delete with progress."""
        self._shown_at = time.monotonic()
        connection = task_connection()
        rules = _rules(options)
        if rules.shortest == FOREVER:
            self.stdout.write("The settings keep these tasks forever: nothing to prune.")
            return
        walk = Walk(
            rules,
            up_to=largest_id(connection),
            queues=_queues(options),
            queue=options["queue_name"],
            processor=options["processor"],
            without_finished_at=options["without_finished_at"],
        )
        if options["dry_run"] or not options["yes"]:
            counted = self._followed(count_all(connection, walk), walk, "Found")
            verb = "Would prune" if options["dry_run"] else "Prune"
            self._show(f"{verb} {_number(counted)}", counted)
            if options["dry_run"] or not counted:
                return
            if not is_confirmed(options):
                self.stdout.write("Pruned nothing.")
                return
        pruned = self._followed(prune_all(connection, walk, options["rows_per_second"]), walk, "Pruned")
        self._show(f"Pruned {_number(pruned)}", pruned)

    def _followed(self, batches: Iterable[Batch], walk: Walk, verb: str) -> Counter[tuple[str, str]]:
        """Add up the results of batches, with progress; after Ctrl-C, print what was done, and exit."""
        numbers: Counter[tuple[str, str]] = Counter()
        try:
            for batch in batches:
                numbers.update(batch.numbers)
                if time.monotonic() >= self._shown_at + PROGRESS_SECONDS:
                    self._shown_at = time.monotonic()
                    self.stdout.write(f"{verb} {_number(numbers)}; at id {batch.last} of {walk.up_to}")
                    self.stdout.flush()
        except KeyboardInterrupt:
            self._show(f"Interrupted. {verb} {_number(numbers)} so far", numbers)
            raise SystemExit(INTERRUPTED) from None
        return numbers

    def _show(self, beginning: str, numbers: Mapping[tuple[str, str], int]) -> None:
        self.stdout.write(f"{beginning}{':' if numbers else '.'}")
        words = {status: word for word, status in STATUSES.items()}
        for (queue, status), number in sorted(numbers.items()):
            self.stdout.write(f"  {printable(queue)}: {number} {words[status]}")


def _rules(options: Mapping[str, Any]) -> Rules:
    statuses = [STATUSES[word] for word in options["status"] or STATUSES]
    if options["older_than"] is not None:
        if not options["status"]:
            raise CommandError("--older-than needs --status: finished, failed, or both.")
        return retention.rules_of_age(options["older_than"], statuses)
    if options["without_finished_at"]:
        raise CommandError(
            "--without-finished-at needs --older-than: the settings do not apply to such rows."
        )
    try:
        refuse(chain(queues.problems(), processor_validation.problems()))
    except WrongSetting as error:
        raise CommandError(str(error)) from error
    return retention.rules().only(statuses)


def _queues(options: Mapping[str, Any]) -> tuple[str, ...] | None:
    if options["queue_name"] is not None or options["older_than"] is not None:
        return None
    return retention.queues_of_project()


def _number(numbers: Mapping[tuple[str, str], int]) -> str:
    number = sum(numbers.values())
    return "1 task" if number == 1 else f"{number} tasks"


def _rate(text: str) -> float:
    if text.isdecimal() and int(text) > 0:
        return float(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number of rows; expected an integer, at least 1.")
