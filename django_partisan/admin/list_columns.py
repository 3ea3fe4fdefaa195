"""The columns of the list of tasks."""

from typing import Any, Final

from django.contrib import admin
from django.db.models import F
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Left
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_partisan.admin.line_breaks import two_lines, unbroken, wrappable
from django_partisan.admin_formatting import duration, moment, seconds_of
from django_partisan.models import Task

ERROR_SHOWN_MAX: Final = 100
_LARGE: Final = ("arguments", "extra", "context", "error_message", "error_traceback", "history", "result")


def with_list_columns(tasks: Any) -> Any:
    """Defer large columns; fetch only the start of the error message and the duration of the last run."""
    shown = {
        "error_start": Left(F("error_message"), 4 * ERROR_SHOWN_MAX),
        "last_seconds": KeyTextTransform("seconds", KeyTransform("-1", "history")),
    }
    return tasks.defer(*_LARGE).annotate(**shown)


class ListColumns:
    """The columns of the list: which task, its status, its error, its last run, and when."""

    list_display: Any = ("id", "processor_and_queue", "status_and_reason", "error", "last_run", "when")

    @admin.display(description=_("processor"))
    def processor_and_queue(self, task: Any) -> SafeString:
        """Return the processor, and the queue below it."""
        return two_lines(task.processor_class, task.queue_name)

    @admin.display(description=_("status"))
    def status_and_reason(self, task: Any) -> SafeString:
        """Return the status; below it the reason of a failure or hold, and the attempts if more than one."""
        held = gettext("held: %(reason)s") % {"reason": task.held} if task.held else None
        attempts = ngettext("%(count)d attempt", "%(count)d attempts", task.attempts) % {
            "count": task.attempts
        }
        below = (held or task.error_reason, attempts if task.attempts > 1 else None)
        return two_lines(status(task), ", ".join(filter(None, below)))

    @admin.display(description=_("error"), empty_value="")
    def error(self, task: Any) -> SafeString | None:
        """Return the first line of the error message, truncated, and the error's class below it."""
        if not task.error_type:
            return None
        first = next(filter(str.strip, (task.error_start or "").splitlines()), "").strip()
        cut = first if len(first) <= ERROR_SHOWN_MAX else first[: ERROR_SHOWN_MAX - 1] + "…"
        name = task.error_type.rpartition(".")[2]
        return two_lines(cut, name) if cut else wrappable(name)

    @admin.display(description=_("last run"), empty_value="")
    def last_run(self, task: Any) -> SafeString | None:
        """Return the duration of the last run, and its worker below it."""
        seconds = seconds_of(task.last_seconds)
        if seconds is None and task.started_at and task.finished_at:
            seconds = (task.finished_at - task.started_at).total_seconds()
        if seconds is None:
            return wrappable(task.worker) if task.worker else None
        return two_lines(unbroken(duration(seconds)), task.worker)

    @admin.display(description=_("when"))
    def when(self, task: Any) -> SafeString:
        """Return when the task ended, was claimed or is due, to the second, and which of these below it."""
        if task.status == Task.STATUS_IN_PROCESS and task.claimed_at:
            return two_lines(_to_the_second(task.claimed_at), gettext("claimed"))
        if task.finished_at is None:
            return two_lines(_to_the_second(task.execute_after), gettext("due"))
        words = gettext("failed") if task.status == Task.STATUS_ERROR else gettext("finished")
        return two_lines(_to_the_second(task.finished_at), words)


def status(task: Task) -> SafeString:
    """Return the status of a task, marked with its color."""
    shown = '<span class="partisan-status partisan-{}">{}</span>'
    return format_html(shown, task.status, task.get_status_display())


def _to_the_second(stored: Any) -> SafeString:
    return unbroken(str(moment(stored)).partition(".")[0])
