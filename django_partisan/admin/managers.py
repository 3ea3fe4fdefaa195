"""The list of managers, and the page of a manager."""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_partisan.admin.columns import ReadOnly, column
from django_partisan.admin.line_breaks import two_lines
from django_partisan.admin.lookups import RefusesLookups
from django_partisan.admin.runs import published_at, published_runs, runs_table
from django_partisan.admin_formatting import duration, moment
from django_partisan.models import ManagerLease, Task

if TYPE_CHECKING:
    ManagerAdminBase = admin.ModelAdmin[ManagerLease]
else:
    ManagerAdminBase = admin.ModelAdmin


@admin.register(ManagerLease)
class ManagerLeaseAdmin(ReadOnly, RefusesLookups, ManagerAdminBase):
    """The admin of managers: live ones, and dead ones whose tasks are not rescued yet.

    Workers that finish a run without their manager are listed too; ``role`` marks them.
    """

    list_display = (
        "host_and_pid", "queue", "role", "is_alive", "sleeping_now", "last_heartbeat_at", "began_at",
        "running", "held_tasks",
    )  # fmt: skip
    list_display_links = ("host_and_pid",)
    sortable_by = ()
    ordering = ("queue_name", "host", "pid")
    fields = (
        "id", "queue", "host_name", "process", "role", "is_alive", "sleeping_now", "began_at",
        "last_heartbeat_at", "seconds", "lock", "library", "held_tasks", "runs_at", "runs",
    )  # fmt: skip

    queue = column("queue_name", _("queue"))
    host_name = column("host", _("host"))
    process = column("pid", _("process"))
    sleeping_now = column("sleeping", _("sleeping"), bool, boolean=True)
    seconds = column("lease_seconds", _("lease in seconds"))
    lock = column("lock_name", _("lock file"))
    library = column("version", _("version"))
    began_at = column("started_at", _("started at"), moment)
    last_heartbeat_at = column("heartbeat_at", _("last heartbeat at"), moment)

    class Media:
        css = {"all": ("django_partisan/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[ManagerLease]:
        """Add the age of the last heartbeat, by the database's clock."""
        age = ExpressionWrapper(Now() - F("heartbeat_at"), output_field=DurationField())
        leases: QuerySet[ManagerLease] = super().get_queryset(request).annotate(heartbeat_age=age)
        return leases

    @admin.display(description=_("manager"))
    def host_and_pid(self, lease: ManagerLease) -> str:
        """Return the host and the process id of the manager."""
        return f"{lease.host}:{lease.pid}"

    @admin.display(description=_("running"))
    def running(self, lease: ManagerLease) -> SafeString | str:
        """Return the number of tasks that its workers run, and the longest run below it."""
        runs = published_runs(lease)
        if not runs:
            return self.get_empty_value_display()
        longest = gettext("%(processor)s for %(duration)s") % {
            "processor": runs[0].processor,
            "duration": duration(runs[0].seconds),
        }
        return two_lines(str(len(runs)), longest)

    @admin.display(description=_("running tasks"))
    def runs(self, lease: ManagerLease) -> SafeString | None:
        """Return the tasks that its workers run, the longest run first."""
        return runs_table(lease, self.admin_site.name)

    @admin.display(description=_("as of"))
    def runs_at(self, lease: ManagerLease) -> str | None:
        """Return when the manager published its runs."""
        return published_at(lease)

    @admin.display(description=_("role"))
    def role(self, lease: ManagerLease) -> str:
        """Return whether the row belongs to a manager, or to a worker without its manager."""
        return gettext("worker without its manager") if lease.is_worker else gettext("manager")

    @admin.display(description=_("alive"), boolean=True)
    def is_alive(self, lease: Any) -> bool:
        """Return whether the lease has not expired."""
        return bool(lease.heartbeat_age.total_seconds() < lease.lease_seconds)

    @admin.display(description=_("tasks in process"))
    def held_tasks(self, lease: ManagerLease) -> SafeString:
        """Return the number of tasks that the manager holds, as a link to them."""
        held = Task.objects.in_process().filter(queue_name=lease.queue_name, claimed_by=lease.pk).count()
        page = reverse(f"{self.admin_site.name}:django_partisan_task_changelist")
        query = f"?status__exact={Task.STATUS_IN_PROCESS}&claimed_by__exact={lease.pk}"
        return format_html('<a href="{}{}">{}</a>', page, query, held)
