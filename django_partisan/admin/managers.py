"""The list of managers, and a manager's page."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from django_partisan.admin.columns import ReadOnly, column
from django_partisan.models import ManagerLease, Task
from django_partisan.shown import moment

if TYPE_CHECKING:
    ManagerAdminBase = admin.ModelAdmin[ManagerLease]
else:
    ManagerAdminBase = admin.ModelAdmin


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
        "lease_seconds", "lock_name", "held_tasks",
    )  # fmt: skip

    queue = column("queue_name", "queue")
    began_at = column("started_at", "started at", moment)
    last_heartbeat_at = column("heartbeat_at", "last heartbeat at", moment)

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

    @admin.display(description="tasks it holds")
    def held_tasks(self, lease: ManagerLease) -> SafeString:
        """Return how many tasks the manager holds, as a link to them."""
        held = Task.objects.in_process().filter(queue_name=lease.queue_name, claimed_by=lease.pk).count()
        page = reverse(f"{self.admin_site.name}:django_partisan_task_changelist")
        query = f"?status__exact={Task.STATUS_IN_PROCESS}&claimed_by__exact={lease.pk}"
        return format_html('<a href="{}{}">{}</a>', page, query, held)
