"""Run a command with a temporary server, or keep a temporary server running until interrupted."""

import argparse
import os
import signal
import subprocess
import sys
from types import FrameType
from typing import Final

from tools.deferred_signals import deferred

from . import ProgramsNotFound, ServerError, environment, server

FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def main() -> int:
    """Execute the command line and return the exit code."""
    arguments = _parser().parse_args()
    options = {
        "durable": arguments.durable,
        "major": arguments.major,
        "settings": dict(arguments.settings),
    }
    try:
        if arguments.action == "serve":
            with server(**options) as own:
                serve(own.url)
            return 0
        with environment(**options) as variables:
            return run([arguments.command, *arguments.arguments], variables)
    except (ProgramsNotFound, ServerError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def serve(url: str) -> None:
    """Print the URL and wait for INT or TERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        print(url, flush=True)
        while True:
            signal.pause()
    except KeyboardInterrupt:
        pass


def run(command: list[str], variables: dict[str, str]) -> int:
    """Run a command, forward each signal to it once, and return its exit code as a shell would."""
    child: subprocess.Popen[bytes] | None = None

    def forward(signum: int, _frame: FrameType | None) -> None:
        if child is None:
            raise SystemExit(128 + signum)
        if child.poll() is None:
            os.killpg(child.pid, signum)

    for signum in FORWARDED:
        signal.signal(signum, forward)
    try:
        with deferred(FORWARDED):
            # In a separate session, or it would receive Ctrl-C twice: from the terminal and from here.
            child = subprocess.Popen(command, env=os.environ | variables, start_new_session=True)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return 127
    code = child.wait()
    return code if code >= 0 else 128 - code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.postgres", description=__doc__)
    parser.add_argument("--durable", action="store_true", help="keep committed data after a crash")
    parser.add_argument("--major", type=int, help="PostgreSQL's major version (default: PARTISAN_PG_MAJOR)")
    parser.add_argument(
        "-c", dest="settings", type=_setting, action="append", default=[], metavar="NAME=VALUE",
        help="a setting of postgresql.conf; can be repeated",
    )  # fmt: skip
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("serve", help="start a server, print its URL, wait for Ctrl-C")
    run_parser = actions.add_parser("run", help="run COMMAND with the variables of a server set")
    run_parser.add_argument("command", metavar="COMMAND")
    run_parser.add_argument("arguments", nargs=argparse.REMAINDER, metavar="ARGUMENT")
    return parser


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    return name, value


if __name__ == "__main__":
    sys.exit(main())
