"""The base of the commands for operators, whose ``--help`` ends with examples."""

import argparse
from typing import Any

from django.core.management.base import BaseCommand


class OperatorCommand(BaseCommand):
    """A command that runs whatever else the settings say; ``epilog`` is the end of its help."""

    epilog = ""
    requires_system_checks: list[str] = []  # to operate must not depend on unrelated settings
    requires_migrations_checks = False

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """Return a parser whose help keeps the lines of the epilog."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        # Not as arguments: django-configurations replaces the method by one that takes none.
        parser.epilog, parser.formatter_class = self.epilog, argparse.RawDescriptionHelpFormatter
        return parser
