"""Which queues a command acts on: one, or all."""

import argparse
import getpass
import socket


def add_queues(parser: argparse.ArgumentParser, which: str) -> None:
    """Declare the options that name a queue or all; ``which`` describes all of them."""
    group = parser.add_mutually_exclusive_group(required=True)
    group.add_argument("--queue-name", "--queue_name", metavar="NAME", help="this queue")
    group.add_argument("--all", action="store_true", help=f"every queue {which}")


def operator() -> str:
    """Return who runs the command, as far as the operating system knows: user and host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
