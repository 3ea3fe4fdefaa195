"""Run real work on an embedded PostgreSQL: `python -m demo`."""

import argparse
import os
import platform
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.core.management import call_command

from demo import catalogue
from demo.processes import INTERRUPTS
from tools import postgres

OUTPUT = Path("build") / "demo"
INTERRUPTED = 128 + signal.SIGINT


def main() -> int:
    """Run the demo and return its exit code."""
    options = _options()
    # Handle Ctrl-C, TERM and a closed terminal in the same way, so that every "finally" runs.
    for signum in INTERRUPTS:
        signal.signal(signum, signal.default_int_handler)
    try:
        with environment(options.output):
            return _serve(options) if options.serve else _run(options)
    except (postgres.ProgramsNotFound, postgres.ServerError) as error:
        print(f"The demo could not start its own PostgreSQL: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. All processes are stopped and the database is removed.", file=sys.stderr)
        return INTERRUPTED


@contextmanager
def environment(output: Path) -> Iterator[None]:
    """Run a database and a catalogue for the length of a `with` block, with Django set up for them."""
    output.mkdir(parents=True, exist_ok=True)
    (output / "report.html").unlink(missing_ok=True)
    with postgres.server(durable=False) as server, catalogue.serving() as serving:
        for name in [name for name in os.environ if name.startswith("PG")]:
            del os.environ[name]  # do not use the user's own database
        os.environ |= server.env() | {
            "DEMO_OUTPUT": str(output),
            "DEMO_CATALOGUE": serving.address,
            "DJANGO_SETTINGS_MODULE": "demo.settings",
        }
        django.setup()
        call_command("migrate", verbosity=0)
        yield


def _run(options: argparse.Namespace) -> int:
    from demo import batch
    from demo.progress import Terminal

    terminal = Terminal()
    terminal.print_line(
        f"Python {platform.python_version()}, Django {django.__version__}, an embedded PostgreSQL."
    )
    return batch.run(terminal, options.output, options.files)


def _serve(options: argparse.Namespace) -> int:
    from demo import serve
    from demo.progress import Terminal

    return serve.run(Terminal(), options.output, options.files, options.port)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument(
        "--serve", action="store_true", help="run the site, a manager and steady traffic until Ctrl-C"
    )
    parser.add_argument("--files", type=int, metavar="N", help="index N files instead of all of them")
    parser.add_argument(
        "--port", type=int, metavar="N", help="port of the site (default: 8000, or a free one)"
    )
    parser.add_argument(
        "--output", type=lambda text: Path(text).absolute(), default=OUTPUT.absolute(), metavar="DIR",
        help=f"folder for the report and logs (default: {OUTPUT})",
    )  # fmt: skip
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
