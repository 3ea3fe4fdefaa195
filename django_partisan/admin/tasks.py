"""The list of tasks, and the page of a task."""

from functools import cache, partial
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from django_partisan.admin.argument_search import ArgumentFilter, ArgumentTerm, with_argument
from django_partisan.admin.columns import ReadOnly
from django_partisan.admin.filters import (
    HeldFilter,
    ProcessorFilter,
    QueueFilter,
    ReasonFilter,
    StatusFilter,
    by_index,
    has_index,
)
from django_partisan.admin.list_columns import ListColumns, with_list_columns
from django_partisan.admin.lookups import RefusesLookups
from django_partisan.admin.paging import LISTED_MAX, BoundedPaginator, TaskChangeList, latest
from django_partisan.admin.search_limit import latest_searched, searched_per_queue
from django_partisan.admin.task_acting import OffersTaskActions
from django_partisan.admin.task_page import TaskPage
from django_partisan.models import Task

if TYPE_CHECKING:
    TaskAdminBase = admin.ModelAdmin[Task]
else:
    TaskAdminBase = admin.ModelAdmin


@admin.register(Task)
class TaskAdmin(ListColumns, TaskPage, OffersTaskActions, ReadOnly, RefusesLookups, TaskAdminBase):
    """The admin of tasks, the latest first, with a search by id, processor or argument."""

    list_filter = (StatusFilter, QueueFilter, ProcessorFilter, HeldFilter, ReasonFilter, ArgumentFilter)
    search_fields = ("=id", "processor_class")
    search_help_text = _("Search by a task's id, the start of a processor's name, or an argument: order=4711")
    ordering = ("-id",)
    sortable_by = ("id",)
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    paginator = BoundedPaginator

    class Media:
        css = {"all": ("django_partisan/admin.css",)}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Task]:
        """Defer columns that can be large: a list of 50 tasks does not need them."""
        tasks: QuerySet[Task] = with_list_columns(super().get_queryset(request))
        return tasks

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by id if the term is a number, by argument, or by the start of the processor's name."""
        term = search_term.strip()
        if term.isdecimal():
            return queryset.filter(pk=int(term)), False
        if argument := ArgumentTerm.of(term):
            return with_argument(request, queryset, argument), False
        if has_index(request.GET):
            return by_index(queryset, request.GET, term), False
        found = queryset.filter(processor_class__istartswith=term) if term else queryset
        limit = latest_searched(request.GET)
        return found if limit is None else latest(found, limit), False

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TaskChangeList]:
        """Return the class of the list."""
        return TaskChangeList

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list, or carry out an action; the page states the limits of its paging and its search."""
        limits = {
            "listed_max": LISTED_MAX,
            "listed_max_shown": _grouped(LISTED_MAX),
            **_search_limit(request),
        }
        return super().changelist_view(request, {**limits, **(extra_context or {})})


def _search_limit(request: HttpRequest) -> dict[str, Any]:
    """Return how many tasks the list searches, if not all.

    The page evaluates ``reached_max`` only if the list is not full, because it reads the index up to there.
    """
    latest = latest_searched(request.GET)
    return {
        "searched_max": None if latest is None else _grouped(latest),
        "reached_max": cache(partial(_reached_max, request)),
    }


def _reached_max(request: HttpRequest) -> str | None:
    limit = searched_per_queue(request.GET, Task.objects.db)
    return None if limit is None else _grouped(limit)


def _grouped(number: int) -> str:
    return number_format(number, force_grouping=True)
