"""Find tasks by the value of an argument: ``order=4711`` in the search box, or ``?argument=order:4711``.

No index has arguments. So the search looks at the latest tasks only, and leaves out very long arguments.
"""

import inspect
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from math import isfinite
from typing import Any, Final, NamedTuple

from django.contrib import admin, messages
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_partisan import registry
from django_partisan.admin.paging import latest
from django_partisan.telemetry import redaction

ARGUMENTS_SEARCHED_MAX: Final = 10_000
"""How many of the latest tasks are searched for an argument."""
_LONGEST_BYTES: Final = 16_384
"""Longer arguments, as they are stored, are not searched: reading them takes too long."""
_TERM: Final = re.compile(r"\s*([^\W\d]\w*)\s*[=:]\s*(.*?)\s*", re.DOTALL)

# Passed by name, or at the place at which a processor has a parameter of that name. CASE decides first what
# may be read; AND promises no order.
_HAS_ARGUMENT: Final = f"""
    CASE WHEN pg_column_size(django_partisan_task.arguments) > {_LONGEST_BYTES} THEN false
         ELSE coalesce(django_partisan_task.arguments -> 'kwargs' -> %s = ANY(%s::jsonb[]), false)
              OR EXISTS (SELECT FROM unnest(%s::text[], %s::int[]) AS parameter (processor, place)
                          WHERE parameter.processor = django_partisan_task.processor_class
                            AND django_partisan_task.arguments -> 'args' -> parameter.place
                                = ANY(%s::jsonb[])) END
"""


class ArgumentTerm(NamedTuple):
    """The name of a parameter, and the value as it was typed."""

    name: str
    value: str

    @classmethod
    def of(cls, text: str) -> "ArgumentTerm | None":
        """Return the term that a text is, or ``None``."""
        found = _TERM.fullmatch(text)
        return cls(*found.groups()) if found else None

    @property
    def values(self) -> list[str]:
        """The JSON values that the typed one may mean: a text, or a number, a boolean or null."""
        found: list[Any] = [self.value]
        with suppress(ValueError, RecursionError):
            found.append(json.loads(self.value))
        return [json.dumps(value, ensure_ascii=False) for value in found if _is_storable(value)]

    def places(self) -> Iterator[tuple[str, int]]:
        """Yield the registered processors that have a parameter of this name, and its place."""
        for name, definition in registry.definitions.items():
            try:
                parameters = list(inspect.signature(definition.source).parameters)
            except (TypeError, ValueError):  # of a class in C
                continue
            parameters = parameters[int(definition.takes_context) :]
            if self.name in parameters:
                yield name, parameters.index(self.name)


def _is_storable(value: Any) -> bool:
    """Return whether a value may be that of an argument: PostgreSQL refuses to compare with any other."""
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return not isinstance(value, dict | list)


def with_argument(request: HttpRequest, tasks: QuerySet[Any], term: ArgumentTerm) -> QuerySet[Any]:
    """Select those of the latest tasks that have an argument; none, with a warning, if it is a secret."""
    if redaction.is_secret(term.name):
        words = gettext(
            "“%(name)s” looks like the name of a secret (REDACT_KEYS); it cannot be searched for."
        )
        messages.warning(request, words % {"name": term.name})
        return tasks.none()
    processors, places = zip(*term.places(), strict=True) if any(term.places()) else ((), ())
    parameters = (term.name, term.values, list(processors), list(places), term.values)
    has_argument = RawSQL(_HAS_ARGUMENT, parameters, output_field=BooleanField())
    return latest(tasks, ARGUMENTS_SEARCHED_MAX).filter(has_argument)


class ArgumentFilter(admin.SimpleListFilter):
    """The filter of ``?argument=order:4711``; shown while it is used, as it has no fixed choices."""

    title, parameter_name = _("argument"), "argument"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return what is searched for."""
        value = self.value()
        return [] if value is None else [(value, value)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Select the tasks with the argument; a value without a name finds none."""
        term = ArgumentTerm.of(self.value() or "")
        return queryset.none() if term is None else with_argument(request, queryset, term)
