"""Filters of the list of tasks."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from django_partisan import registry
from django_partisan.config import queues
from django_partisan.models import Task
from django_partisan.outcomes import FAILURE_REASONS, HELD_REASONS


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
