"""Filters of the list of tasks.

Failed and held tasks, and those that managers hold, have indexes of their own. Other filters look at the
latest tasks only, if no such filter is chosen too.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_partisan import registry
from django_partisan.admin.paging import LISTED_MAX, SEARCHED_MAX, latest
from django_partisan.admin.reach import HELD, OF_STATUS, Index, reached
from django_partisan.config import queues
from django_partisan.models import Task
from django_partisan.outcomes import FAILURE_REASONS, HELD_REASONS, REASONS_TO_NAME

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

STATUS: Final = "status__exact"
_WITHOUT_SEARCH: Final = frozenset({STATUS, "queue", "o", "p", "e", "all", "_changelist_filters"})
"""What in a query string leaves no task out that an index has of a queue."""
_REASONS: Final = tuple(dict.fromkeys((*FAILURE_REASONS, *REASONS_TO_NAME)))


def has_index(parameters: Mapping[str, Any]) -> bool:
    """Return whether an index finds what the filters in a query string select."""
    return parameters.get(STATUS, Task.STATUS_FINISHED) != Task.STATUS_FINISHED or bool(
        {"reason", "held"}.intersection(parameters)
    )


def indexes_of(parameters: Mapping[str, Any]) -> tuple[Index, ...]:
    """Return the indexes that find what the filters in a query string select."""
    held = HELD if "held" in parameters else ()
    failed = OF_STATUS[Task.STATUS_ERROR] if "reason" in parameters else ()
    return (*held, *failed, *OF_STATUS.get(parameters.get(STATUS, ""), ()))


def reach(parameters: Mapping[str, Any]) -> int:
    """Return how many tasks of a queue are read from an index: more if only some of them are selected."""
    searched = {name for name, value in parameters.items() if value} - _WITHOUT_SEARCH
    return SEARCHED_MAX if searched else LISTED_MAX


class KnownValuesFilter(admin.SimpleListFilter):
    """A filter whose choices come from code and settings: the table is not asked which values it holds."""

    field = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Select the rows with the chosen value."""
        value = self.value()
        if value is None:
            return queryset
        chosen = queryset.filter(**{self.field: value})
        return chosen if has_index(request.GET) else latest(chosen)


class StatusFilter(KnownValuesFilter):
    title, parameter_name, field = _("status"), STATUS, "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, "str | StrPromise"]]:
        """Return what a task can be."""
        return list(Task.STATUS_CHOICES)

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Select the tasks, by the indexes of the status if it has any."""
        chosen = super().queryset(request, queryset)
        indexes = OF_STATUS.get(self.value() or "")
        return reached(chosen, indexes, reach(request.GET)) if indexes else chosen


class QueueFilter(KnownValuesFilter):
    title, parameter_name, field = _("queue"), "queue", "queue_name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the queues of the settings."""
        return [(name, name) for name in queues.queue_names()]


class ProcessorFilter(KnownValuesFilter):
    title, parameter_name, field = _("processor"), "processor", "processor_class"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the registered processors."""
        return [(name, name) for name in sorted(registry.definitions)]


class ReasonFilter(KnownValuesFilter):
    title, parameter_name, field = _("reason of failure"), "reason", "error_reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the reasons for which tasks fail."""
        return [(reason, reason.replace("_", " ")) for reason in _REASONS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Select the failed tasks with the chosen reason, by the index of the failed."""
        chosen = super().queryset(request, queryset)
        if self.value() is None:
            return chosen
        failed = chosen.filter(status=Task.STATUS_ERROR)
        return reached(failed, OF_STATUS[Task.STATUS_ERROR], reach(request.GET))


class HeldFilter(KnownValuesFilter):
    title, parameter_name, field = _("held"), "held", "held"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the reasons for which tasks are held."""
        return [(reason, reason) for reason in HELD_REASONS]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Select the held tasks with the chosen reason, by the index of the held."""
        chosen = super().queryset(request, queryset)
        return chosen if self.value() is None else reached(chosen, HELD, reach(request.GET))
