"""The columns and fields of a schedule: when it ticks, and the outcomes of its ticks."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.contrib import admin
from django.db import Error
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_partisan.admin.columns import UNREADABLE, column
from django_partisan.admin.line_breaks import two_lines, unbroken
from django_partisan.admin.task_page import HIDDEN
from django_partisan.admin_formatting import block, duration, moment
from django_partisan.config import observability
from django_partisan.models import Schedule
from django_partisan.schedule_rows import moment_or_now
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.schedules.tick_record import moment_of
from django_partisan.telemetry import redaction

SHOWN_TICKS: Final = 5
_TITLES: Final = (_("tick"), _("outcome"), _("task"), _("ended"))


class ScheduleColumns:
    """The columns of a schedule: its name, its ticks, the outcome of the last tick, and errors."""

    admin_site: Any

    source = column("origin", _("origin"))
    wanted_task = column("task", _("task"))
    last_error = column("error", _("error"), block)
    changed_at = column("defined_at", _("ticks since"), moment)
    ended_at = column("stopped_at", _("stopped at"), moment)

    @admin.display(description=_("schedule"), ordering="name")
    def name_and_task(self, row: Schedule) -> SafeString:
        """Return the name of the schedule, and its task below it."""
        return two_lines(row.name, row.task)

    @admin.display(description=_("when"))
    def when(self, row: Schedule) -> SafeString:
        """Return the cron expression with its time zone, or the interval."""
        if row.cron:
            return two_lines(unbroken(row.cron), row.time_zone)
        return unbroken(gettext("every %(duration)s") % {"duration": duration(row.every or 0)})

    @admin.display(description=_("next tick"))
    def next_tick(self, row: Schedule) -> SafeString | str:
        """Return the moment of the next tick, or the reason why there is none."""
        if row.state == Schedule.STATE_STOPPED:
            return two_lines(gettext("stopped"), gettext("no live manager has it in its settings"))
        if row.state == Schedule.STATE_PAUSED:
            return two_lines(gettext("paused"), row.comment)
        return unbroken(moment(row.next_at) or "-")

    @admin.display(description=_("last tick"), empty_value="")
    def last_tick(self, row: Schedule) -> SafeString | None:
        """Return the moment of the last tick, and its outcome below it."""
        last = row.last_tick
        if not last:
            return None
        words = (last.get(key) for key in ("outcome", "ended"))
        return two_lines(unbroken(_tick_time(last)), ", ".join(str(word) for word in words if word))

    @admin.display(description=_("healthy"), boolean=True)
    def is_healthy(self, row: Schedule) -> bool:
        """Return whether the last tick could be enqueued, and the last task that ended did not fail."""
        return not row.error and not row.last_failed

    @admin.display(description=_("next five ticks"))
    def next_ticks(self, row: Schedule) -> SafeString | str:
        """Return the next ticks in the schedule's own time zone."""
        try:
            ticks = ScheduleDefinition.of_row(row).upcoming(SHOWN_TICKS, moment_or_now(None))
        except (ValueError, Error) as error:
            return str(error)
        return format_html_join("", "<div>{}</div>", ((_with_zone(tick),) for tick in ticks))

    @admin.display(description=_("last ticks"))
    def ticks(self, row: Schedule) -> SafeString | None:
        """Return a table of the last ticks and their outcomes, the newest first."""
        kept = row.kept_ticks
        if not kept:
            return None
        head = format_html_join("", '<th scope="col">{}</th>', ((title,) for title in _TITLES))
        rows = format_html_join("", "<tr>{}</tr>", ((self._cells(tick),) for tick in reversed(kept)))
        table = "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>"
        return format_html('<div class="partisan-history">' + table + "</div>", head, rows)

    @admin.display(description=_("total ticks"))
    def numbers(self, row: Schedule) -> str | None:
        """Return the number of ticks for each outcome."""
        if not isinstance(row.totals, dict):
            return str(UNREADABLE)
        return ", ".join(f"{outcome}: {number}" for outcome, number in sorted(row.totals.items())) or None

    @admin.display(description=_("arguments"))
    def shown_arguments(self, row: Schedule) -> str:
        """Return the arguments, redacted and truncated, if the settings allow showing them."""
        if not observability.value("LOG_TASK_ARGS"):
            return str(HIDDEN)
        return block(redaction.shown({"args": row.args, "kwargs": row.kwargs}))

    def _cells(self, tick: Mapping[str, Any]) -> SafeString:
        task = tick.get("task")
        link: Any = ""
        if isinstance(task, int):
            page = reverse(f"{self.admin_site.name}:django_partisan_task_change", args=[task])
            link = format_html('<a href="{}">{}</a>', page, task)
        cells = (unbroken(_tick_time(tick)), tick.get("outcome", ""), link, tick.get("ended", ""))
        return format_html_join("", "<td>{}</td>", ((cell,) for cell in cells))


def _tick_time(tick: Mapping[str, Any]) -> str:
    return moment(moment_of(tick)) or "-"


def _with_zone(tick: datetime) -> str:
    return f"{tick:%Y-%m-%d %H:%M:%S %Z}"
