"""Serve one queue: claim its tasks and run them in worker processes."""

import argparse
import atexit
import gc
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any, Final, NoReturn

from django.core.management.base import CommandError
from django.db import Error, connections
from django.utils import autoreload

from django_partisan import logs
from django_partisan.config import queue_keys, queues
from django_partisan.config.queues import QueueConfig
from django_partisan.engine import project_setup
from django_partisan.engine.manager import startup
from django_partisan.engine.manager.manager import EXIT_OK, Manager
from django_partisan.engine.manager.process_signals import ProcessSignals, StopRequested
from django_partisan.engine.manager.run_until import Until
from django_partisan.exceptions import PartisanError
from django_partisan.management.operator_command import OperatorCommand
from django_partisan.sql.backlog import waiting
from django_partisan.sql.connection import open_connection
from django_partisan.sql.refusals import refusal_of_command
from django_partisan.telemetry.events.snapshot import Snapshot
from django_partisan.telemetry.setup import manager as telemetry

OVERRIDES: Final = {key.lower(): setting for key, setting in queue_keys.KEYS.items() if setting.option}
EPILOG: Final = """\
TERM, INT or HUP drains: the manager claims no more tasks, finishes running tasks and releases the others;
the exit code is 0. After a second TERM or INT, or after --stop-timeout, running tasks are ended by force
and released; the exit code is 1.
QUIT logs the stack of every thread and changes nothing else.

exit codes:
  0  stopped on request; with --once or --until-empty: no task was left to run, and none failed
  1  refused to start, ended running tasks by force, or drained because the library was replaced
  2  at least one task failed (--once and --until-empty only)

examples:
  manage.py start_partisan                              serve the queue 'default'
  manage.py start_partisan --queue-name mail            serve another queue
  manage.py start_partisan --once                       run what is due, then exit
  manage.py start_partisan --metrics-port 9464          serve metrics for Prometheus
  manage.py start_partisan --log-format ecs             log JSON lines for Elasticsearch
"""
AUTORELOAD_STOP_SECONDS: Final = 10.0
EXIT_REFUSED: Final = 1


class Command(OperatorCommand):
    """Start a manager and its workers; see ``--help``."""

    help = "Serve one queue: claim its tasks and run them in worker processes."
    epilog = EPILOG
    checks_database = False  # checked when serving: with --autoreload, a change of the settings can fix it
    requires_system_checks: list[str] = []  # checked below instead, and reported in one line each

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """Return a parser that reports wrong usage in one line."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        if parser.called_from_command_line:
            parser.error = partial(_refuse_usage, parser)
        return parser

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options, each in both spellings."""
        parser.add_argument(
            *_spellings("queue_name"),
            default=queues.DEFAULT_QUEUE,
            help="Queue to serve (default: %(default)s).",
        )
        settings = parser.add_argument_group("settings of the queue, for this process")
        for name, setting in OVERRIDES.items():
            names = ["--stop-timeout"] if name == "stop_timeout_seconds" else []
            text = f"{setting.help} ({name.upper()})"
            settings.add_argument(*names, *_spellings(name), dest=name, type=setting.option or str, help=text)
        ending = parser.add_mutually_exclusive_group()
        ending.add_argument("--once", action="store_true", help="Run until no task is due, then exit.")
        ending.add_argument(
            *_spellings("until_empty"), action="store_true", help="Run until no task is waiting, then exit."
        )
        starting = parser.add_argument_group("starting")
        starting.add_argument(
            *_spellings("wait_for_database"),
            type=float,
            default=0.0,
            metavar="SECONDS",
            help="Wait up to this many seconds for the database to become reachable (default: %(default)s). "
            "Use it if the manager may start before the database.",
        )
        starting.add_argument(
            "--setup",
            metavar="PACKAGE.MODULE.FUNCTION",
            help="Call this function before the workers read the settings. Use it if manage.py does more "
            "than set DJANGO_SETTINGS_MODULE (default: the environment variable PARTISAN_SETUP).",
        )
        starting.add_argument(
            "--autoreload", action="store_true", help="Restart when code changes (for development)."
        )
        telemetry.add_arguments(parser, _spellings)

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until stopped; exit with the manager's exit code."""
        if options["autoreload"]:
            autoreload.run_with_reloader(self._serve_until_reloaded, options)
            return
        signals = ProcessSignals()
        with signals.handled():
            try:
                with project_setup.exported_setup(options["setup"]):
                    code = self._serve_or_refuse(options, signals)
            except StopRequested as asked:
                self._print_line(f"Stopped by {asked} before it began to serve; nothing was claimed.")
                code = EXIT_OK
            except PartisanError as error:
                raise CommandError(str(error)) from error
            telemetry.exit_if_stuck(code)
        if code != EXIT_OK:
            raise SystemExit(code)

    def _serve_until_reloaded(self, options: dict[str, Any]) -> None:
        """Serve in the reloader's thread, which continues after an error: a change of code can fix it."""
        try:
            with project_setup.exported_setup(options["setup"]):
                self._serve_or_refuse(options, ProcessSignals())
        except PartisanError as error:
            self.stderr.write(str(error))

    def _serve_or_refuse(self, options: dict[str, Any], signals: ProcessSignals) -> int:
        queue = options["queue_name"]
        queues.check_queue_name(queue)
        startup.ensure_right_settings(options)
        given = {name: options[name] for name in OVERRIDES if options[name] is not None}
        config = queues.queue_config(queue, **given)
        with telemetry.set_up_manager(config, options) as watch:
            served = signals.result_of(partial(startup.ensure_database, options["wait_for_database"]))
            startup.ensure_schema(served)
            manager = Manager(watch.worker_spec._replace(schema=served.schema), _until(options))
            connections.close_all()  # the manager's threads open their own connections
            # Loaded modules stay in memory: garbage collections, also the one at exit, can skip them.
            gc.freeze()
            if options["autoreload"]:
                atexit.register(_stop_before_exit, manager)

            def begin(snapshot: Callable[[], Snapshot]) -> str | None:
                address = watch.serve(snapshot)
                # Printed last, when nothing can prevent serving any more.
                if notice := startup.notice_of_immediate_mode():
                    self._print_line(notice)
                self._print_line(startup.describe(config, served.version))
                return address

            code = manager.run(begin, signals)
            watch.waited_seconds = manager.workers_ending_seconds
        if options["once"] or options["until_empty"]:
            self._print_waiting(config, manager.failed)
            return code
        return EXIT_OK if code != 1 else code

    def _print_waiting(self, config: QueueConfig, failed: int) -> None:
        with closing(open_connection("count")) as connection:
            try:
                left = waiting(connection, config.queue)
            except Error as error:  # the exit code still says whether a task failed
                self._print_line(f"{failed} failed. {refusal_of_command(connection, error)}")
                return
        line = f"Nothing waits in queue {config.queue!r}."
        if left.next_due_at is not None:
            tasks = "1 task waits" if left.number == 1 else f"{left.number} tasks wait"
            due = f"{left.next_due_at:%Y-%m-%d %H:%M:%S %Z}"
            line = f"{tasks} in queue {config.queue!r}; the next is due at {due}."
        if left.held:
            held = "1 task is held" if left.held == 1 else f"{left.held} tasks are held"
            line = f"{line} {held}; partisan_doctor shows why."
        self._print_line(f"{failed} failed. {line}" if failed else line)

    def _print_line(self, line: str) -> None:
        """Print one line on standard error: standard output is for the log."""
        logs.print_line(line, self.stderr)


def _refuse_usage(parser: argparse.ArgumentParser, message: str) -> NoReturn:
    """Exit with one line and code 1; argparse's own code 2 would mean that a task failed."""
    remedy = f"Write options in full; to list them, run: {parser.prog} --help"
    parser.exit(EXIT_REFUSED, f"{parser.prog}: {message}. {remedy}\n")


def _spellings(name: str) -> list[str]:
    """Return an option's name in Django's spelling, and in the spelling of version 1."""
    return list(dict.fromkeys(["--" + name.replace("_", "-"), "--" + name]))


def _until(options: dict[str, Any]) -> Until | None:
    if options["once"]:
        return Until.IDLE
    return Until.EMPTY if options["until_empty"] else None


def _stop_before_exit(manager: Manager) -> None:
    """Drain when the reloader ends the process, so that tasks are settled and workers end before it."""
    if not manager.stop(AUTORELOAD_STOP_SECONDS):
        manager.stop(AUTORELOAD_STOP_SECONDS)  # by force
