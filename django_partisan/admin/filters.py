"""Filters of the list of tasks.

Waiting, in-process, failed and held tasks have indexes. Filters that select by none of these look only at the
latest tasks.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_partisan import registry
from django_partisan.admin.argument_search import ArgumentTerm
from django_partisan.admin.indexed_selection import FAILED, HELD, OF_STATUS, Condition, Index, first_by_index
from django_partisan.admin.paging import LISTED_MAX, SEARCHED_MAX
from django_partisan.config import queues
from django_partisan.models import Task
from django_partisan.outcomes import FAILURE_REASONS, HELD_REASONS, REASONS_TO_NAME

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

STATUS: Final = "status__exact"
_WITHOUT_SEARCH: Final = frozenset({STATUS, "queue", "o", "p", "e", "all", "_changelist_filters"})
"""Parameters of a query string that do not narrow down which tasks of a queue an index finds."""
_COLUMNS: Final = {"processor": "processor_class", "held": "held", "reason": "error_reason"}
_REASONS: Final = tuple(dict.fromkeys((*FAILURE_REASONS, *REASONS_TO_NAME)))


def has_index(parameters: Mapping[str, Any]) -> bool:
    """Return whether an index finds the tasks that the filters in a query string select.

    A search by id needs none of these indexes, and a search by argument reads only the latest tasks.
    """
    term = parameters.get("q", "").strip()
    if "argument" in parameters or term.isdecimal() or ArgumentTerm.of(term):
        return False
    return parameters.get(STATUS) in OF_STATUS or bool({"reason", "held"}.intersection(parameters))


def indexes_of(parameters: Mapping[str, Any]) -> tuple[Index, ...]:
    """Return the indexes that find the tasks that the filters in a query string select."""
    if "reason" in parameters:
        return FAILED
    return HELD if "held" in parameters else OF_STATUS.get(parameters.get(STATUS, ""), ())


def rows_to_read(parameters: Mapping[str, Any]) -> int:
    """Return how many tasks of a queue to read from an index: more if other filters exclude some of them."""
    searched = {name for name, value in parameters.items() if value} - _WITHOUT_SEARCH
    return SEARCHED_MAX if searched else LISTED_MAX


def by_index(tasks: QuerySet[Any], parameters: Mapping[str, Any], term: str) -> QuerySet[Any]:
    """Select tasks by the filters in a query string and the search term, using an index."""
    indexes = indexes_of(parameters)
    status = parameters.get(STATUS)
    if status is not None and OF_STATUS.get(status) != indexes:
        tasks = tasks.filter(status=status)
    conditions = list(_conditions(parameters, term))
    return first_by_index(tasks, indexes, rows_to_read(parameters), parameters.get("queue"), conditions)


def _conditions(parameters: Mapping[str, Any], term: str) -> Iterator[Condition]:
    for name, column in _COLUMNS.items():
        if name in parameters:
            yield Condition(column, "= %s", parameters[name])
    if term:
        pattern = f"{connection.ops.prep_for_like_query(term)}%"
        yield Condition("processor_class", "ILIKE %s", pattern)


class KnownValuesFilter(admin.SimpleListFilter):
    """A filter whose choices come from code and settings, so that the table is not queried for its values."""

    field = ""

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Select the rows with the chosen value, unless ``by_index()`` does it."""
        value = self.value()
        return queryset if value is None or has_index(request.GET) else queryset.filter(**{self.field: value})


class StatusFilter(KnownValuesFilter):
    title, parameter_name, field = _("status"), STATUS, "status"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, "str | StrPromise"]]:
        """Return the statuses of tasks."""
        return list(Task.STATUS_CHOICES)


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


class HeldFilter(KnownValuesFilter):
    title, parameter_name, field = _("held"), "held", "held"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the reasons for which tasks are held."""
        return [(reason, reason) for reason in HELD_REASONS]
