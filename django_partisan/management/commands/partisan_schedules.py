"""List schedules, show their next ticks, and run, pause or resume one."""

import argparse
import shutil
from typing import Any, Final

from django.core.management.base import CommandError

from django_partisan.exceptions import PartisanError, WrongSetting
from django_partisan.formatting import moment as shown_moment
from django_partisan.management.operator_command import OperatorCommand
from django_partisan.management.schedules.document import as_json, iso, moments_as_json
from django_partisan.management.schedules.report import (
    ScheduleStatus,
    read_rows,
    read_schedule,
    read_schedules,
)
from django_partisan.management.schedules.text import WIDTH, as_text
from django_partisan.management.times import MOMENT, moment
from django_partisan.models import Schedule
from django_partisan.schedule_rows import moment_or_now

TABLE: Final = "table"
JSON: Final = "json"
COUNT: Final = 5
COUNT_MAX: Final = 10_000
EPILOG: Final = f"""\
Write moments in {MOMENT}.

examples:
  manage.py partisan_schedules
  manage.py partisan_schedules --format json | jq '.[] | select(.error != "")'
  manage.py partisan_schedules --upcoming nightly --count 3 --from 2027-03-27
  manage.py partisan_schedules --run nightly
  manage.py partisan_schedules --pause nightly --comment "the provider is down"
"""


class Command(OperatorCommand):
    """Show schedules and act on them; see ``--help``."""

    help = (
        "List schedules with their next and last ticks; show the next ticks of one schedule; or run, pause "
        "or resume a schedule."
    )
    epilog = EPILOG

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options for the output and the actions."""
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--upcoming", metavar="NAME", help="show the next ticks of this schedule")
        group.add_argument(
            "--run",
            metavar="NAME",
            help="enqueue the task of this schedule now, even if the schedule is paused",
        )
        group.add_argument("--pause", metavar="NAME", help="pause this schedule until it is resumed")
        group.add_argument("--resume", metavar="NAME", help="resume this schedule from its next tick")
        parser.add_argument(
            "--count", type=_count, metavar="N", help=f"with --upcoming: how many ticks (default: {COUNT})"
        )
        parser.add_argument(
            "--from", type=moment, dest="after", metavar="TIME",
            help="with --upcoming: show the ticks after this moment (default: now)",
        )  # fmt: skip
        parser.add_argument("--comment", metavar="TEXT", help="with --pause: why the schedule is paused")
        parser.add_argument(
            "--format",
            choices=(TABLE, JSON),
            default=TABLE,
            help="format of the list, by default %(default)s",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Show schedules, or act on one."""
        _refuse_options_without_effect(options)
        try:
            lines = self._lines(options)
        except (PartisanError, TypeError, ValueError) as error:
            raise CommandError(str(error)) from error
        self.stdout.write("\n".join(lines))

    def _lines(self, options: dict[str, Any]) -> list[str]:
        if options["upcoming"] is not None:
            return _upcoming(read_schedule(options["upcoming"]), options)
        for option, act in _ACTIONS.items():
            if options[option] is not None:
                return [act(_row_of(options[option]), options)]
        schedules = self._all()
        if options["format"] == JSON:
            return as_json(schedules)
        width = shutil.get_terminal_size().columns if self.stdout.isatty() else WIDTH
        return as_text(schedules, width)

    def _all(self) -> list[ScheduleStatus]:
        """Return all schedules; if the settings are wrong, print that, and return those of the table."""
        try:
            return read_schedules()
        except WrongSetting as error:
            self.stderr.write(f"The schedules of the settings are left out: {error}")
            return read_rows()


def _upcoming(status: ScheduleStatus, options: dict[str, Any]) -> list[str]:
    """Return the next ticks, in the time zone of the schedule."""
    ticks = status.definition.upcoming(options["count"] or COUNT, moment_or_now(options["after"]))
    return moments_as_json(ticks) if options["format"] == JSON else [*map(iso, ticks)]


def _run(row: Schedule, options: dict[str, Any]) -> str:
    task_id = row.run_now()
    if task_id is None:
        return f"Schedule {row.name!r} does not overlap, and its last task has not ended; enqueued nothing."
    return f"Task {task_id} of schedule {row.name!r} is enqueued."


def _pause(row: Schedule, options: dict[str, Any]) -> str:
    row.pause(options["comment"] or "")
    return f"Paused schedule {row.name!r}."


def _resume(row: Schedule, options: dict[str, Any]) -> str:
    row.resume()
    if row.state != Schedule.STATE_ACTIVE or row.next_at is None:
        return f"Resumed schedule {row.name!r}."
    return f"Resumed schedule {row.name!r}; next tick {shown_moment(row.next_at)}."


_ACTIONS: Final = {"run": _run, "pause": _pause, "resume": _resume}


def _row_of(name: str) -> Schedule:
    """Return the row of a schedule; raise ``CommandError`` if it has none: it cannot be run or paused yet."""
    row = read_schedule(name).row
    if row is None:
        raise CommandError(
            f"Schedule {name!r} is in the settings, but no manager has seen it yet; start a manager with "
            "these settings."
        )
    return row


def _refuse_options_without_effect(options: dict[str, Any]) -> None:
    """Raise ``CommandError`` for an option that has no effect with the others."""
    is_acting = any(options[name] is not None for name in _ACTIONS)
    if options["upcoming"] is None and (options["count"] is not None or options["after"] is not None):
        raise CommandError("--count and --from need --upcoming NAME.")
    if options["pause"] is None and options["comment"] is not None:
        raise CommandError("--comment needs --pause NAME.")
    if is_acting and options["format"] == JSON:
        raise CommandError("--format json works only for the list and for --upcoming NAME.")


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= COUNT_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {COUNT_MAX}.")
    return int(text)
