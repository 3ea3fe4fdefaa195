"""The list of tasks, and a task's page."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html

from django_partisan.admin.columns import ReadOnly, column
from django_partisan.admin.filters import HeldFilter, ProcessorFilter, QueueFilter, ReasonFilter
from django_partisan.admin.history import history
from django_partisan.admin.paging import LISTED_MAX, BoundedPaginator
from django_partisan.config import observability
from django_partisan.models import ManagerLease, Task
from django_partisan.shown import block, moment
from django_partisan.telemetry import redaction
from django_partisan.telemetry.trace_context import enqueued_trace_id

if TYPE_CHECKING:
    TaskAdminBase = admin.ModelAdmin[Task]
else:
    TaskAdminBase = admin.ModelAdmin

MOMENTS = ("enqueued_at", "due_at", "last_claimed_at", "last_started_at", "ended_at", "changed_at")
CLAIM = ("ready", "shown_manager", "worker", "claim_token", "unique_key", "shown_trace")
HIDDEN = "Hidden. LOG_TASK_ARGS in PARTISAN_OBSERVABILITY shows arguments; secrets stay redacted."


@admin.register(Task)
class TaskAdmin(ReadOnly, TaskAdminBase):
    """The tasks, the latest first; search by id or processor."""

    list_display = (
        "id", "processor", "status", "held", "reason", "queue", "attempts", "retries", "postpones",
        "due_at", "ended_at",
    )  # fmt: skip
    list_filter = ("status", QueueFilter, ProcessorFilter, HeldFilter, ReasonFilter)
    search_fields = ("=id", "processor_class")
    search_help_text = "A task's id, or how its processor's name begins"
    ordering = ("-id",)
    sortable_by = ("id",)
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator
    fieldsets = (
        (None, {"fields": ("id", "processor", "queue", "status", "priority", "shown_arguments")}),
        ("Failure", {"fields": ("reason", "error_type", "shown_message", "shown_traceback")}),
        ("History", {"fields": ("shown_history",)}),
        ("Held", {"fields": ("held", "unknown_since")}),
        ("Moments", {"fields": MOMENTS}),
        ("Counters", {"fields": ("attempts", "retries", "postpones", "crashes")}),
        ("Claim", {"fields": CLAIM}),
    )

    processor = column("processor_class", "processor")
    queue = column("queue_name", "queue")
    reason = column("error_reason", "reason")
    enqueued_at = column("created_at", "enqueued at", moment)
    due_at = column("execute_after", "due at", moment)
    unknown_since = column("unregistered_since", "since", moment)
    last_claimed_at = column("claimed_at", "claimed at", moment)
    last_started_at = column("started_at", "started at", moment)
    ended_at = column("finished_at", "finished at", moment)
    changed_at = column("updated_at", "last written at", moment)
    shown_message = column("error_message", "message", block)
    shown_traceback = column("error_traceback", "traceback", block)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Task]:
        """Leave out what can be large: a list of 50 tasks needs none of it."""
        large = ("arguments", "extra", "context", "error_message", "error_traceback", "history", "result")
        return super().get_queryset(request).defer(*large)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Look for a number among the ids, for anything else among the processors."""
        term = search_term.strip()
        if term.isdecimal():
            return queryset.filter(pk=int(term)), False
        return queryset.filter(processor_class__istartswith=term) if term else queryset, False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list; its page says where the paging ends."""
        return super().changelist_view(request, {"listed_max": LISTED_MAX, **(extra_context or {})})

    @admin.display(description="arguments")
    def shown_arguments(self, task: Task) -> str:
        """Return the arguments, redacted and cut, if the settings allow to show them."""
        if not observability.value("LOG_TASK_ARGS"):
            return HIDDEN
        return block(redaction.shown(task.arguments))

    @admin.display(description="runs")
    def shown_history(self, task: Task) -> str:
        """Return the runs that did not complete, and the last one."""
        return history(task.history) if task.history else str(self.get_empty_value_display())

    @admin.display(description="claimed by")
    def shown_manager(self, task: Task) -> str:
        """Return the manager that holds or held the task, as a link while its row exists."""
        lease = ManagerLease.objects.filter(pk=task.claimed_by).first() if task.claimed_by else None
        if lease is None:
            return str(task.claimed_by or self.get_empty_value_display())
        page = reverse(f"{self.admin_site.name}:django_partisan_managerlease_change", args=[lease.pk])
        return format_html('<a href="{}">{}</a>', page, lease)

    @admin.display(description="trace id")
    def shown_trace(self, task: Task) -> str:
        """Return the id of the trace in which the task was enqueued, to look it up there."""
        return enqueued_trace_id(task.context) or str(self.get_empty_value_display())
