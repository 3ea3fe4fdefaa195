"""Ask for confirmation before a command acts on many tasks."""

import argparse
from typing import Any

from django.core.management.base import CommandError


def add_confirmation(parser: argparse.ArgumentParser) -> None:
    """Add the options ``--dry-run`` and ``--yes``."""
    parser.add_argument("--dry-run", action="store_true", help="only print what would be done")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def is_confirmed(options: dict[str, Any]) -> bool:
    """Return whether the command should act; ask at the terminal unless ``--yes`` was given."""
    if options["yes"]:
        return True
    try:
        answer = input("Continue? [y/N] ")
    except EOFError as error:
        raise CommandError("Cannot ask for confirmation: standard input is at its end. Add --yes.") from error
    return answer.strip().lower() in ("y", "yes")
