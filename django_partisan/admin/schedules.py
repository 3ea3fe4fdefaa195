"""Django's admin for schedules: add and change those made by hand; run, pause and resume all."""

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_partisan.admin.lookups import RefusesLookups
from django_partisan.admin.schedule_acting import OffersScheduleActions
from django_partisan.admin.schedule_columns import ScheduleColumns
from django_partisan.admin.schedule_form import DEFINITION, ScheduleForm
from django_partisan.models import Schedule

if TYPE_CHECKING:
    ScheduleAdminBase = admin.ModelAdmin[Schedule]
else:
    ScheduleAdminBase = admin.ModelAdmin

_ARGUMENTS: Final = ("args", "kwargs")
_TICKS: Final = ("next_tick", "next_ticks", "last_error", "numbers", "ticks")
_ORIGIN: Final = ("source", "changed_at", "ended_at")
_MAY_BE_EMPTY: Final = {
    "last_error": "error", "numbers": "totals", "ticks": "recent_ticks", "ended_at": "stopped_at",
}  # fmt: skip
"""Fields that are not shown while the column is empty."""


@admin.register(Schedule)
class ScheduleAdmin(ScheduleColumns, OffersScheduleActions, RefusesLookups, ScheduleAdminBase):
    """The admin of schedules, for users with permissions to view, add, change, delete, run and pause them.

    Schedules of the settings can only be run and paused, and their comment can be changed.
    """

    form = ScheduleForm
    change_form_template = "admin/django_partisan/schedule/change_form.html"
    list_display = ("name_and_task", "when", "next_tick", "last_tick", "is_healthy", "source")
    list_filter = ("paused", "origin")
    search_fields = ("name", "task")
    ordering = ("name",)

    class Media:
        css = {"all": ("django_partisan/admin.css",)}

    def get_fieldsets(self, request: HttpRequest, obj: Schedule | None = None) -> Any:
        """Return the fields of the definition and, for an existing schedule, of its ticks and its origin."""
        if obj is None:
            return [(None, {"fields": DEFINITION})]
        shown: tuple[str, ...] = DEFINITION
        if not self._is_editable(request, obj):  # its arguments may hold secrets
            shown = (*(name for name in DEFINITION if name not in _ARGUMENTS), "shown_arguments")
        empty = [name for name, column in _MAY_BE_EMPTY.items() if not getattr(obj, column)]
        return [
            (None, {"fields": shown}),
            (_("Ticks"), {"fields": [name for name in _TICKS if name not in empty]}),
            (_("Origin"), {"fields": [name for name in _ORIGIN if name not in empty]}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Schedule | None = None) -> Any:
        """Return the read-only fields: the name and, of a schedule of the settings, all but the comment."""
        if obj is None:
            return ()
        shown = ("shown_arguments", *_TICKS, *_ORIGIN)
        if self._is_editable(request, obj):
            return ("name", *shown)
        return (*(name for name in DEFINITION if name != "comment"), *shown)

    def has_delete_permission(self, request: HttpRequest, obj: Schedule | None = None) -> bool:
        """Refuse to delete a schedule that a live manager has in its settings: it would be added again."""
        is_listed = obj is not None and obj.origin == Schedule.ORIGIN_SETTINGS and obj.stopped_at is None
        return not is_listed and super().has_delete_permission(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        """Delete rows one by one, so that managers are notified."""
        for row in queryset:
            row.delete()

    def _is_editable(self, request: HttpRequest, row: Schedule) -> bool:
        return row.origin != Schedule.ORIGIN_SETTINGS and self.has_change_permission(request, row)
