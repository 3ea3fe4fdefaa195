"""Resume a queue, or all paused queues."""

import argparse
from typing import Any, Final

from django.core.management.base import CommandError

from django_partisan.exceptions import UnknownQueue
from django_partisan.management.operator_command import OperatorCommand
from django_partisan.management.queue_selection import add_queues
from django_partisan.pausing import paused_queues, resume

EPILOG: Final = """\
A manager that gets no notifications (because LISTEN is False, or behind a pooler in transaction mode) notices
the end of the pause at its next heartbeat.

examples:
  manage.py partisan_resume --queue-name mail
  manage.py partisan_resume --all
"""


class Command(OperatorCommand):
    """Resume queues; see ``--help``."""

    help = "Resume a paused queue: its tasks start again within a second, if managers get notifications."
    epilog = EPILOG

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options for the queues."""
        add_queues(parser, "that is paused")

    def handle(self, *args: Any, **options: Any) -> None:
        """Resume the queues, and print which were paused."""
        names = [queue.queue_name for queue in paused_queues()] if options["all"] else [options["queue_name"]]
        if not names:
            self.stdout.write("No queue is paused.")
        for name in names:
            try:
                was_paused = resume(name)
            except UnknownQueue as error:
                raise CommandError(str(error)) from error
            if was_paused:
                self.stdout.write(self.style.SUCCESS(f"Resumed queue {name!r}."))
            else:
                self.stdout.write(f"Queue {name!r} was not paused.")
