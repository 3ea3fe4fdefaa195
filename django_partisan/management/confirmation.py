"""How a command asks before it acts on many tasks."""

import argparse
from typing import Any

from django.core.management.base import CommandError


def add_confirmation(parser: argparse.ArgumentParser) -> None:
    """Declare the options about asking."""
    parser.add_argument("--dry-run", action="store_true", help="only say what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask")


def is_confirmed(options: dict[str, Any]) -> bool:
    """Return whether the command is to act; ask at the terminal unless ``--yes`` was given."""
    if options["yes"]:
        return True
    try:
        answer = input("Continue? [y/N] ")
    except EOFError as error:
        raise CommandError("Nobody can be asked here: the input has ended. Add --yes.") from error
    return answer.strip().lower() in ("y", "yes")
