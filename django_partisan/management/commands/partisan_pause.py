"""Pause a queue, or all queues."""

import argparse
from datetime import timedelta
from typing import Any, Final

from django.core.management.base import CommandError

from django_partisan.admin_formatting import moment as shown_moment
from django_partisan.config import queues
from django_partisan.exceptions import UnknownQueue
from django_partisan.management.operator_command import OperatorCommand
from django_partisan.management.queue_selection import add_queues, operator
from django_partisan.management.times import DURATION, duration
from django_partisan.models import Task
from django_partisan.pausing import PausedQueue, pause
from django_partisan.sql.connection import task_connection

EPILOG: Final = f"""\
No task of a paused queue starts, on any host, even if managers restart. Running tasks finish, and tasks can
still be enqueued. To change the end or the comment of a pause, pause the queue again.
A duration is {DURATION}.

examples:
  manage.py partisan_pause --queue-name mail --comment "the provider is down"
  manage.py partisan_pause --queue-name mail --for 2h
  manage.py partisan_pause --all --for 30m --comment "database maintenance"
"""


class Command(OperatorCommand):
    """Pause queues; see ``--help``."""

    help = "Pause a queue: none of its tasks starts until the queue is resumed or the pause ends."
    epilog = EPILOG

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options for the queues, the duration, and the comment."""
        add_queues(parser, "in the settings")
        parser.add_argument(
            "--for", type=_length, dest="length", metavar="DURATION", help="resume the queue after this time"
        )
        parser.add_argument("--comment", default="", metavar="TEXT", help="why the queue is paused")

    def handle(self, *args: Any, **options: Any) -> None:
        """Pause the queues, and print how many tasks are still in process."""
        names = queues.queue_names() if options["all"] else [options["queue_name"]]
        for name in names:
            try:
                paused = pause(name, until=options["length"], comment=options["comment"], by=operator())
            except UnknownQueue as error:
                raise CommandError(str(error)) from error
            self.stdout.write(self.style.SUCCESS(_described(paused)))
            number = Task.objects.using(task_connection().alias).in_process().filter(queue_name=name).count()
            if number:
                tasks = "1 task is" if number == 1 else f"{number} tasks are"
                self.stdout.write(f"{tasks} in process: running tasks finish, the others are released.")


def _described(paused: PausedQueue) -> str:
    end = "until it is resumed" if paused.until is None else f"until {shown_moment(paused.until)}"
    return f"Paused queue {paused.queue_name!r} {end}."


def _length(text: str) -> timedelta:
    seconds = duration(text)
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; expected more than 0 seconds.")
    return timedelta(seconds=seconds)
