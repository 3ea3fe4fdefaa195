"""Serve one queue: claim its tasks and run them in worker processes."""

import argparse
import atexit
from contextlib import closing
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils import autoreload

from django_partisan.config import queues
from django_partisan.config.queues import QueueConfig
from django_partisan.engine.forkserver.spawner import ensure_short_temporary_folder
from django_partisan.engine.manager import startup
from django_partisan.engine.manager.manager import EXIT_OK, Manager
from django_partisan.exceptions import PartisanError
from django_partisan.sql.backlog import waiting
from django_partisan.sql.connection import open_connection
from django_partisan.telemetry.setup import manager as watching

OVERRIDES: Final = {
    "min_queue_size": (int, "claim more when this many tasks are claimed and not begun"),
    "max_queue_size": (int, "claim up to this many tasks ahead"),
    "checks_before_cleanup": (int, "look after database connections every so many claims"),
    "workers_count": (int, "number of worker processes"),
    "sleep_delay_seconds": (float, "longest sleep between looks at the queue, if nobody wakes the manager"),
    "stop_timeout_seconds": (float, "after this many seconds of draining, end running tasks by force"),
}
EPILOG: Final = """\
TERM or INT drains: nothing more is claimed, running tasks finish, the rest goes back, exit code 0.
A second signal, or the end of --stop-timeout, ends running tasks; they go back too; exit code 1.

exit codes:
  0  stopped as asked; with --once or --until-empty: nothing was left to do, and no task failed
  1  refused to start, or ended running tasks by force
  2  at least one task failed for good (--once and --until-empty only)

examples:
  manage.py start_partisan                              serve the queue 'default'
  manage.py start_partisan --queue-name mail            serve another queue
  manage.py start_partisan --once                       run what is due, then exit
  manage.py start_partisan --metrics-port 9464          serve metrics for Prometheus
  manage.py start_partisan --log-format ecs             log JSON lines for Elasticsearch
"""
AUTORELOAD_STOP_SECONDS: Final = 10.0


class Command(BaseCommand):
    """Start a manager and its workers; see ``--help``."""

    help = "Serve one queue: claim its tasks and run them in worker processes."
    requires_system_checks: list[str] = []  # the settings are checked below, and told in one line
    requires_migrations_checks = False

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> Any:
        """Return a parser whose help keeps the lines of the examples."""
        kwargs.setdefault("epilog", EPILOG)
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        return parser

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options, each in both spellings."""
        parser.add_argument(
            *_spellings("queue_name"),
            default=queues.DEFAULT_QUEUE,
            help="queue to serve (default: %(default)s)",
        )
        settings = parser.add_argument_group("settings of the queue, for this process")
        for name, (kind, text) in OVERRIDES.items():
            names = ["--stop-timeout"] if name == "stop_timeout_seconds" else []
            settings.add_argument(
                *names, *_spellings(name), dest=name, type=kind, help=f"{text} ({name.upper()})"
            )
        ending = parser.add_mutually_exclusive_group()
        ending.add_argument("--once", action="store_true", help="run until nothing is due, then exit")
        ending.add_argument(
            *_spellings("until_empty"), action="store_true", help="run until nothing waits, then exit"
        )
        starting = parser.add_argument_group("starting")
        starting.add_argument(
            *_spellings("wait_for_database"),
            type=float,
            default=0.0,
            metavar="SECONDS",
            help="try this long to reach the database (default: once)",
        )
        starting.add_argument(
            "--autoreload", action="store_true", help="start anew when code changes, for development"
        )
        watching.add_arguments(parser, _spellings)

    def handle(self, *args: Any, **options: Any) -> None:
        """Serve until stopped; exit with the manager's code."""
        if options["autoreload"]:
            autoreload.run_with_reloader(self._serve_until_reloaded, options)
        else:
            code = self._serve(options)
            if code != EXIT_OK:
                raise SystemExit(code)

    def _serve_until_reloaded(self, options: dict[str, Any]) -> None:
        """Serve in the reloader's thread; after a refusal it waits for the change that cures it."""
        try:
            self._serve_or_refuse(options)
        except PartisanError as error:
            self.stderr.write(str(error))

    def _serve(self, options: dict[str, Any]) -> int:
        try:
            return self._serve_or_refuse(options)
        except PartisanError as error:
            raise CommandError(str(error)) from error

    def _serve_or_refuse(self, options: dict[str, Any]) -> int:
        queue = options["queue_name"]
        queues.check_queue_name(queue)
        startup.demand_right_settings()
        ensure_short_temporary_folder()
        given = {name: options[name] for name in OVERRIDES if options[name] is not None}
        config = queues.queue_config(queue, **given)
        startup.demand_database(options["wait_for_database"])
        with watching.manager_watched(config, options) as watch:
            manager = Manager(config, watch.spec_of_worker, _ending(options))
            self._say(startup.describe(config))
            if options["autoreload"]:
                _stop_before_exit(manager)
            code = manager.run(watch.serve)
        if options["once"] or options["until_empty"]:
            self._say_what_waits(config, manager.settler.failed)
            return code
        return EXIT_OK if code != 1 else code

    def _say_what_waits(self, config: QueueConfig, failed: int) -> None:
        with closing(open_connection("count")) as connection:
            left = waiting(connection, config.queue)
        failures = f"{failed} failed. " if failed else ""
        if not left.number:
            self._say(f"{failures}Nothing waits in queue {config.queue!r}.")
            return
        assert left.next_due_at is not None
        tasks = "1 task waits" if left.number == 1 else f"{left.number} tasks wait"
        due_at = f"{left.next_due_at:%Y-%m-%d %H:%M:%S %Z}"
        self._say(f"{failures}{tasks} in queue {config.queue!r}; the next is due at {due_at}.")

    def _say(self, line: str) -> None:
        """Say one line on standard error: standard output belongs to the log."""
        self.stderr.write(line, style_func=lambda text: text)


def _spellings(name: str) -> list[str]:
    """Return an option's name as Django spells options, and as version 1 did."""
    return list(dict.fromkeys(["--" + name.replace("_", "-"), "--" + name]))


def _ending(options: dict[str, Any]) -> Any:
    if options["once"]:
        return lambda manager: manager.is_idle
    if options["until_empty"]:
        return lambda manager: manager.is_idle and manager.claimer.next_due_in is None
    return None


def _stop_before_exit(manager: Manager) -> None:
    """Drain when the reloader ends the process, since multiprocessing would wait for the workers."""

    def stop() -> None:
        for _ in range(2):  # the second time by force
            if not manager.has_ended.is_set():
                manager.wakeup.deliver(manager.shutdown.ask)
                manager.has_ended.wait(AUTORELOAD_STOP_SECONDS)

    atexit.register(stop)
