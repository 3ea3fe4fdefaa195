"""The options that select the queues on which a command acts: one, or all."""

import argparse
import getpass
import socket


def add_queues(parser: argparse.ArgumentParser, which: str) -> None:
    """Add the options for one queue or all queues; ``which`` describes all queues in the help."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--queue-name", "--queue_name", metavar="NAME", help="name of the queue")
    group.add_argument("--all", action="store_true", help=f"every queue {which}")


def operator() -> str:
    """Return who runs the command, according to the operating system: ``user@host``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
