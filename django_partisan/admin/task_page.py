"""The sections and fields of a task's page; empty ones are left out."""

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _

from django_partisan.admin.columns import UNREADABLE, column
from django_partisan.admin.history import history
from django_partisan.admin.list_columns import status
from django_partisan.admin_formatting import block, moment
from django_partisan.config import observability
from django_partisan.models import ManagerLease, Task
from django_partisan.sql.connection import task_connection
from django_partisan.telemetry import redaction
from django_partisan.telemetry.trace_context import enqueued_trace_id
from django_partisan.why import explain

HIDDEN: Final = _(
    "Hidden. Set LOG_TASK_ARGS in PARTISAN_OBSERVABILITY to show arguments; secrets stay redacted."
)
BOXES: Final = (
    (None, ("id", "processor", "queue", "state", "why", "wanted_priority", "shown_arguments")),
    (_("Failure"), ("reason", "shown_type", "shown_message", "shown_traceback")),
    (_("Held"), ("held_because", "unknown_since")),
    (_("History"), ("shown_history",)),
    (
        _("Moments"),
        ("enqueued_at", "due_at", "expiry", "last_claimed_at", "last_started_at", "ended_at", "changed_at"),
    ),
    (_("Counters"), ("runs", "retried", "postponed", "crashed", "taken_over")),
    (_("Claim"), ("is_ready", "shown_manager", "last_worker", "token")),
    (_("More"), ("time_limit", "key", "shown_trace")),
)
# Fields that are left out if the column is empty or false. "Ready" is shown for waiting tasks only.
_OF_COLUMNS: Final = {
    "reason": "error_reason",
    "shown_type": "error_type",
    "shown_message": "error_message",
    "shown_traceback": "error_traceback",
    "held_because": "held",
    "unknown_since": "unregistered_since",
    "shown_history": "history",
    "expiry": "expires_at",
    "last_claimed_at": "claimed_at",
    "last_started_at": "started_at",
    "ended_at": "finished_at",
    "taken_over": "takeovers",
    "shown_manager": "claimed_by",
    "last_worker": "worker",
    "token": "claim_token",
    "time_limit": "timeout_seconds",
    "key": "unique_key",
}


class TaskPage:
    """The fields of a task's page."""

    admin_site: Any

    processor = column("processor_class", _("processor"))
    queue = column("queue_name", _("queue"))
    wanted_priority = column("priority", _("priority"))
    reason = column("error_reason", _("reason"))
    shown_type = column("error_type", _("error"))
    shown_message = column("error_message", _("message"), block)
    shown_traceback = column("error_traceback", _("traceback"), block)
    held_because = column("held", _("held because"))
    unknown_since = column("unregistered_since", _("since"), moment)
    enqueued_at = column("created_at", _("enqueued at"), moment)
    due_at = column("execute_after", _("due at"), moment)
    expiry = column("expires_at", _("expires at"), moment)
    last_claimed_at = column("claimed_at", _("claimed at"), moment)
    last_started_at = column("started_at", _("started at"), moment)
    ended_at = column("finished_at", _("finished at"), moment)
    changed_at = column("updated_at", _("last written at"), moment)
    runs = column("attempts", _("attempts"))
    retried = column("retries", _("retries"))
    postponed = column("postpones", _("postpones"))
    crashed = column("crashes", _("crashes"))
    taken_over = column("takeovers", _("takeovers"))
    is_ready = column("ready", _("ready"), bool, boolean=True)
    last_worker = column("worker", _("worker"))
    token = column("claim_token", _("claim token"))
    time_limit = column("timeout_seconds", _("time limit in seconds"))
    key = column("unique_key", _("unique key"))

    def get_fieldsets(self, request: HttpRequest, obj: Task | None = None) -> Any:
        """Return the sections with the fields that are not empty for the task."""
        boxes = ((title, [name for name in names if _has_value(obj, name)]) for title, names in BOXES)
        return [(title, {"fields": names}) for title, names in boxes if names]

    @admin.display(description=_("status"))
    def state(self, task: Task) -> SafeString:
        """Return the status."""
        return status(task)

    @admin.display(description=_("summary"))
    def why(self, task: Task) -> str:
        """Return why the task waits, what it does, or how it ended."""
        return explain(task_connection(), task.pk)

    @admin.display(description=_("arguments"))
    def shown_arguments(self, task: Task) -> str:
        """Return the arguments, redacted and truncated, if the settings allow showing them."""
        if not observability.value("LOG_TASK_ARGS"):
            return str(HIDDEN)
        arguments = _read(task, "arguments")
        return str(arguments) if arguments is UNREADABLE else block(redaction.shown(arguments))

    @admin.display(description=_("runs"))
    def shown_history(self, task: Task) -> SafeString | str:
        """Return a table of the runs that did not complete, the last run, and operators' actions."""
        stored = _read(task, "history")
        return str(stored) if stored is UNREADABLE else history(stored)

    @admin.display(description=_("claimed by"))
    def shown_manager(self, task: Task) -> str:
        """Return the manager that holds or held the task, as a link if its row still exists."""
        lease = ManagerLease.objects.filter(pk=task.claimed_by).first() if task.claimed_by else None
        if lease is None:
            return str(task.claimed_by)
        page = reverse(f"{self.admin_site.name}:django_partisan_managerlease_change", args=[lease.pk])
        return format_html('<a href="{}">{}</a>', page, lease)

    @admin.display(description=_("trace id"))
    def shown_trace(self, task: Task) -> str | None:
        """Return the id of the trace in which the task was enqueued, for a lookup in the tracing system."""
        context = _read(task, "context")
        return str(context) if context is UNREADABLE else enqueued_trace_id(context)


def _has_value(task: Task | None, name: str) -> bool:
    if task is None:
        return True
    if name == "is_ready":
        return task.status == Task.STATUS_NEW
    if name == "shown_trace":
        context = _read(task, "context")
        return context is UNREADABLE or enqueued_trace_id(context) is not None
    return name not in _OF_COLUMNS or bool(_read(task, _OF_COLUMNS[name]))


def _read(task: Task, column: str) -> Any:
    """Return the value of a column, deferred or not; ``UNREADABLE`` for JSON that Python cannot read."""
    try:
        return getattr(task, column)
    except (ValueError, RecursionError):
        return UNREADABLE
