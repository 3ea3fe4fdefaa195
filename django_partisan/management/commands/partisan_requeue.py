"""Make failed tasks wait again."""

import argparse
from typing import Any, Final

from django_partisan.batches import BATCH
from django_partisan.management.confirmation import add_confirmation, is_confirmed
from django_partisan.management.operator_command import OperatorCommand
from django_partisan.management.task_selection import add_failure_filters, describe_options, selected
from django_partisan.outcomes import REASONS_TO_NAME
from django_partisan.requeueing import requeue_all

EPILOG: Final = f"""\
A requeued task is due at once. Its counts of retries, postponements and crashes are reset to 0. Its count of
attempts is kept.
If a duplicate is already waiting, both tasks wait. Tasks that a manager holds are never changed.
Tasks that failed with the reason {" or ".join(REASONS_TO_NAME)} are requeued only if --reason names this
reason or --id names the task.

examples:
  manage.py partisan_requeue --processor SendMail --reason retries_exhausted
  manage.py partisan_requeue --failed-after 2026-11-29T18:00 --error-type ConnectionError --dry-run
  manage.py partisan_requeue --id 4711 4712 --yes
"""


class Command(OperatorCommand):
    """Requeue failed tasks; see ``--help``."""

    help = "Make failed tasks wait again, after printing their number and asking for confirmation."
    epilog = EPILOG

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that select tasks, the confirmation, and the comment."""
        add_failure_filters(parser)
        add_confirmation(parser)
        parser.add_argument(
            "--comment", default="", metavar="TEXT", help="a text to store in the history of each task"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what will be requeued, ask, and requeue with progress."""
        ids = self._chosen(options)
        filters = describe_options(options)
        which = f"failed {'task' if len(ids) == 1 else 'tasks'}{f' ({filters})' if filters else ''}"
        if not ids:
            self.stdout.write(f"No {which}: nothing to requeue.")
            return
        self.stdout.write(f"{'Would requeue' if options['dry_run'] else 'Requeue'} {len(ids)} {which}.")
        if options["dry_run"]:
            return
        if not is_confirmed(options):
            self.stdout.write("Requeued nothing.")
            return
        requeued = self._requeue(ids, options["comment"])
        self.stdout.write(self.style.SUCCESS(f"Requeued {requeued} of {len(ids)} tasks."))
        if requeued < len(ids):
            self.stdout.write(
                "The others are no longer failed, or another transaction has locked their rows."
            )

    def _chosen(self, options: dict[str, Any]) -> list[int]:
        tasks = selected(options)
        tasks = tasks.failed() if options["id"] else tasks.requeueable([options["reason"]])
        return list(tasks.values_list("pk", flat=True)[: options["limit"]])

    def _requeue(self, ids: list[int], comment: str) -> int:
        done = 0
        for number in requeue_all(ids, comment):
            done += number
            if len(ids) > BATCH:
                self.stdout.write(f"{done} of {len(ids)}")
                self.stdout.flush()
        return done
