"""Tasks and managers in Django's admin, read-only.

The table may hold millions of rows. So nothing here counts them all, sorts by a column without an
index, or queries which values a column has.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_partisan import admin_pauses, registry  # noqa: F401 - it registers its pages
from django_partisan.config import observability, queues
from django_partisan.models import ManagerLease, Task
from django_partisan.outcomes import FAILURE_REASONS, HELD_REASONS
from django_partisan.shown import block as _block
from django_partisan.shown import history, runs
from django_partisan.shown import moment as _moment
from django_partisan.sql.connection import task_connection
from django_partisan.sql.manager_state import published_manager
from django_partisan.telemetry import redaction
from django_partisan.telemetry.trace_context import enqueued_trace_id
from django_partisan.why import explain

if TYPE_CHECKING:
    TaskAdminBase = admin.ModelAdmin[Task]
    ManagerAdminBase = admin.ModelAdmin[ManagerLease]
    PaginatorBase = Paginator[Any]
else:
    TaskAdminBase = ManagerAdminBase = admin.ModelAdmin
    PaginatorBase = Paginator

# How many tasks, the latest, can be paged through; a filter or a search leads to the older ones.
LISTED_MAX = 10_000

MOMENTS = ("enqueued_at", "due_at", "last_claimed_at", "last_started_at", "ended_at", "changed_at")
CLAIM = ("ready", "shown_manager", "worker", "claim_token", "unique_key", "shown_trace")
HIDDEN = "Hidden. LOG_TASK_ARGS in PARTISAN_OBSERVABILITY shows arguments; secrets stay redacted."


class BoundedPaginator(PaginatorBase):
    """A paginator that stops counting at ``LISTED_MAX``."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows.order_by()[:LISTED_MAX].count() if isinstance(rows, QuerySet) else len(rows)


def _column(field: str, title: str, shown: Callable[[Any], Any] = lambda value: value) -> Any:
    """Return a column that shows a field under the name that the documentation uses."""

    @admin.display(description=title)
    def column(_admin: Any, row: Any) -> Any:
        return shown(getattr(row, field))

    return column


class ReadOnly:
    """Show rows to users with the *view* permission; let no one write: a manager relies on its rows."""

    def _refuse(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_change_permission = has_delete_permission = _refuse


class KnownValuesFilter(admin.SimpleListFilter):
    """A filter whose choices come from code and settings: the table is not asked which values it holds."""

    field = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Select the rows with the chosen value."""
        value = self.value()
        return queryset if value is None else queryset.filter(**{self.field: value})


class QueueFilter(KnownValuesFilter):
    title, parameter_name, field = "queue", "queue", "queue_name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the queues of the settings."""
        return [(name, name) for name in queues.queue_names()]


class ProcessorFilter(KnownValuesFilter):
    title, parameter_name, field = "processor", "processor", "processor_class"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the registered processors."""
        return [(name, name) for name in sorted(registry.definitions)]


class ReasonFilter(KnownValuesFilter):
    title, parameter_name, field = "reason of failure", "reason", "error_reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the reasons for which tasks fail."""
        return [(reason, reason.replace("_", " ")) for reason in FAILURE_REASONS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Select the failed tasks with the chosen reason, by the index of the failed."""
        chosen = super().queryset(request, queryset)
        return chosen if self.value() is None else chosen.filter(status=Task.STATUS_ERROR)


class HeldFilter(KnownValuesFilter):
    title, parameter_name, field = "held", "held", "held"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the reasons for which tasks are held."""
        return [(reason, reason) for reason in HELD_REASONS]


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
        (None, {"fields": ("id", "processor", "queue", "status", "why", "priority", "shown_arguments")}),
        ("Failure", {"fields": ("reason", "error_type", "shown_message", "shown_traceback")}),
        ("History", {"fields": ("shown_history",)}),
        ("Held", {"fields": ("held", "unknown_since")}),
        ("Moments", {"fields": MOMENTS}),
        ("Counters", {"fields": ("attempts", "retries", "postpones", "crashes")}),
        ("Claim", {"fields": CLAIM}),
    )

    processor = _column("processor_class", "processor")
    queue = _column("queue_name", "queue")
    reason = _column("error_reason", "reason")
    enqueued_at = _column("created_at", "enqueued at", _moment)
    due_at = _column("execute_after", "due at", _moment)
    unknown_since = _column("unregistered_since", "since", _moment)
    last_claimed_at = _column("claimed_at", "claimed at", _moment)
    last_started_at = _column("started_at", "started at", _moment)
    ended_at = _column("finished_at", "finished at", _moment)
    changed_at = _column("updated_at", "last written at", _moment)
    shown_message = _column("error_message", "message", _block)
    shown_traceback = _column("error_traceback", "traceback", _block)

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

    @admin.display(description="in a sentence")
    def why(self, task: Task) -> str:
        """Return why the task waits, what it does, or how it ended."""
        return explain(task_connection(), task.pk)

    @admin.display(description="arguments")
    def shown_arguments(self, task: Task) -> str:
        """Return the arguments, redacted and cut, if the settings allow to show them."""
        if not observability.value("LOG_TASK_ARGS"):
            return HIDDEN
        return _block(redaction.shown(task.arguments))

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


@admin.register(ManagerLease)
class ManagerLeaseAdmin(ReadOnly, ManagerAdminBase):
    """List managers: live ones, and dead ones whose tasks are not rescued yet.

    Workers that finish a run without their manager are listed too; ``role`` marks them.
    """

    list_display = (
        "queue",
        "host",
        "pid",
        "role",
        "is_alive",
        "sleeping",
        "last_heartbeat_at",
        "began_at",
        "held_tasks",
    )
    list_display_links = ("queue", "host", "pid")
    sortable_by = ()
    ordering = ("queue_name", "host", "pid")
    fields = (
        "id", "queue", "host", "pid", "role", "is_alive", "sleeping", "began_at", "last_heartbeat_at",
        "lease_seconds", "lock_name", "version", "held_tasks", "running",
    )  # fmt: skip

    queue = _column("queue_name", "queue")
    began_at = _column("started_at", "started at", _moment)
    last_heartbeat_at = _column("heartbeat_at", "last heartbeat at", _moment)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ManagerLease]:
        """Add how old the last heartbeat is, by the database's clock."""
        age = ExpressionWrapper(Now() - F("heartbeat_at"), output_field=DurationField())
        return super().get_queryset(request).annotate(heartbeat_age=age)

    @admin.display(description="role")
    def role(self, lease: ManagerLease) -> str:
        """Return whether the row is of a manager, or of a worker without one."""
        return "worker without its manager" if lease.is_worker else "manager"

    @admin.display(description="alive", boolean=True)
    def is_alive(self, lease: Any) -> bool:
        """Return whether the lease has not expired."""
        return bool(lease.heartbeat_age.total_seconds() < lease.lease_seconds)

    @admin.display(description="tasks it runs")
    def running(self, lease: ManagerLease) -> str:
        """Return the longest runs that the manager has published."""
        published = published_manager(task_connection(), lease.pk)
        return runs(() if published is None else published.runs)

    @admin.display(description="tasks it holds")
    def held_tasks(self, lease: ManagerLease) -> SafeString:
        """Return how many tasks the manager holds, as a link to them."""
        held = Task.objects.in_process().filter(queue_name=lease.queue_name, claimed_by=lease.pk).count()
        page = reverse(f"{self.admin_site.name}:django_partisan_task_changelist")
        query = f"?status__exact={Task.STATUS_IN_PROCESS}&claimed_by__exact={lease.pk}"
        return format_html('<a href="{}{}">{}</a>', page, query, held)
