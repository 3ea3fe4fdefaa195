"""Generate the documentation of the management commands from their parsers."""

from argparse import Action
from pathlib import Path
from typing import Final

from django.core.management import find_commands, load_command_class

from django_partisan import management
from tools.document_tables.markdown import table

DJANGO_OPTIONS: Final = frozenset(
    {"help", "version", "verbosity", "settings", "pythonpath", "traceback", "no_color", "force_color",
     "skip_checks"}
)  # fmt: skip
# Its options are listed in docs/settings.md, with the settings that they override.
START: Final = "start_partisan"
OTHERS: Final = sorted(set(find_commands(str(Path(management.__file__).parent))) - {START})


def options(command: str) -> str:
    """Return a table of a command's arguments and options, without those that all Django commands have."""
    parser = load_command_class("django_partisan", command).create_parser("manage.py", command)
    ours = [action for action in parser._actions if action.dest not in DJANGO_OPTIONS]
    return table(("Option", "Meaning"), ((_spellings(action), _meaning(action)) for action in ours))


def help_of(command: str) -> str:
    """Return the `--help` text of a command: its description, its options, and notes with examples."""
    parser = load_command_class("django_partisan", command).create_parser("manage.py", command)
    notes = "" if parser.epilog is None else f"\n```text\n{parser.epilog.strip()}\n```\n"
    return f"{parser.description}\n\n{options(command)}{notes}"


def _spellings(action: Action) -> str:
    names = [*(action.option_strings or [str(action.metavar or action.dest)])]
    if action.option_strings and action.metavar is not None:
        names[-1] += f" {action.metavar}"
    return ", ".join(f"`{name}`" for name in names)


def _meaning(action: Action) -> str:
    choices = "" if action.choices is None else f" ({', '.join(map(str, action.choices))})"
    return (action.help or "") % {"default": action.default} + choices
