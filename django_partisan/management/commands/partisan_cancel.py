"""Cancel tasks that have not ended."""

import argparse
from typing import Any, Final

from django_partisan.batches import BATCH
from django_partisan.cancelling import CancelResult, cancel_all
from django_partisan.management.confirmation import add_confirmation, is_confirmed
from django_partisan.management.operator_command import OperatorCommand
from django_partisan.management.task_selection import add_filters, describe_options, selected
from django_partisan.models import Task
from django_partisan.outcomes import REASON_CANCELLED

EPILOG: Final = f"""\
A waiting task ends with the reason {REASON_CANCELLED}, and never starts. If a manager holds the task,
cancellation is requested: TaskCancelled is raised inside the run of this task within a second, or with the
manager's next heartbeat at the latest. Tasks that have ended are not changed. To run a cancelled task after
all, requeue it.

examples:
  manage.py partisan_cancel --processor SendMail --waiting --comment "sent twice"
  manage.py partisan_cancel --queue-name reports --running --dry-run
  manage.py partisan_cancel --id 4711 4712 --yes
"""
WAITING: Final = "waiting"
RUNNING: Final = "running"
_STATUSES: Final = {WAITING: Task.STATUS_NEW, RUNNING: Task.STATUS_IN_PROCESS}


class Command(OperatorCommand):
    """Cancel tasks; see ``--help``."""

    help = "Cancel waiting and running tasks, after printing their number and asking for confirmation."
    epilog = EPILOG

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options that select tasks, the confirmation, and the comment."""
        add_filters(parser)
        group = parser.add_mutually_exclusive_group()
        for state, text in (
            (WAITING, "only waiting tasks: due, scheduled or held"),
            (RUNNING, "only tasks that a manager holds"),
        ):
            group.add_argument(f"--{state}", action="store_const", const=state, dest="state", help=text)
        add_confirmation(parser)
        parser.add_argument(
            "--comment", default="", metavar="TEXT", help="a text to store as the error message of each task"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print what will be cancelled, ask, and cancel with progress."""
        state, filters = options["state"], describe_options(options)
        tasks = selected(options).cancellable()
        if state is not None:
            tasks = tasks.filter(status=_STATUSES[state])
        ids = list(tasks.values_list("pk", flat=True)[: options["limit"]])
        which = f"{state or 'waiting or running'} {'task' if len(ids) == 1 else 'tasks'}"
        which += f" ({filters})" if filters else ""
        if not ids:
            self.stdout.write(f"No {which}: nothing to cancel.")
            return
        self.stdout.write(f"{'Would cancel' if options['dry_run'] else 'Cancel'} {len(ids)} {which}.")
        if options["dry_run"]:
            return
        if not is_confirmed(options):
            self.stdout.write("Cancelled nothing.")
            return
        result = self._cancel(ids, options["comment"])
        self.stdout.write(self.style.SUCCESS(f"Cancelled {result.cancelled} of {len(ids)} tasks."))
        if result.requested:
            self.stdout.write(f"Requested cancellation of tasks that managers hold: {result.requested}.")
        if sum(result) < len(ids):
            self.stdout.write("The others have ended in the meantime.")

    def _cancel(self, ids: list[int], comment: str) -> CancelResult:
        total, done = CancelResult(), 0
        for result in cancel_all(ids, comment):
            total = CancelResult(total.cancelled + result.cancelled, total.requested + result.requested)
            done = min(done + BATCH, len(ids))
            if len(ids) > BATCH:
                self.stdout.write(f"{done} of {len(ids)}")
                self.stdout.flush()
        return total
