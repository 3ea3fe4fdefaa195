"""The base class of the commands for operators, whose ``--help`` ends with examples."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error, connections

from django_partisan.exceptions import CannotStart
from django_partisan.sql.connection import task_database
from django_partisan.sql.readiness import ensure_postgresql
from django_partisan.sql.refusals import refusal_of_command


class OperatorCommand(BaseCommand):
    """A command that runs even if unrelated settings are wrong; ``epilog`` is the end of its help."""

    epilog = ""
    checks_database = True
    """Whether to refuse a tasks' database that is not PostgreSQL, and to report its errors in one line.

    Commands that check the database themselves set it to ``False``.
    """
    requires_system_checks: list[str] = []  # operating must not depend on unrelated settings
    requires_migrations_checks = False

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """Return a parser whose help keeps the line breaks of the epilog."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        # Not passed as arguments: django-configurations replaces the method with one that accepts none.
        parser.epilog, parser.formatter_class = self.epilog, argparse.RawDescriptionHelpFormatter
        return parser

    def execute(self, *args: Any, **options: Any) -> Any:
        """Run the command; raise ``CommandError`` with the remedy if the database raises an error."""
        if not self.checks_database:
            return super().execute(*args, **options)
        try:
            ensure_postgresql()
            return super().execute(*args, **options)
        except CannotStart as error:
            raise CommandError(str(error)) from error
        except Error as error:
            raise CommandError(refusal_of_command(connections[task_database()], error)) from error
