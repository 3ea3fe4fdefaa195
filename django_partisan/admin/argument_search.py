"""Find tasks by the value of an argument: ``order=4711`` in the search box, or ``?argument=order:4711``.

No index covers arguments. So the search reads only the latest tasks, and skips very long arguments.
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
"""Arguments whose stored size is larger are not searched: reading them takes too long."""
_TERM: Final = re.compile(r"\s*([^\W\d]\w*)\s*[=:]\s*(.*?)\s*", re.DOTALL)

# The argument was passed by name, or by position where a processor has a parameter of that name. CASE checks
# the size before it reads the arguments; AND does not guarantee an order.
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
        """Parse a text as a term; return ``None`` if it is not one."""
        found = _TERM.fullmatch(text)
        return cls(*found.groups()) if found else None

    @property
    def values(self) -> list[str]:
        """The JSON values that the typed value may mean: a string, or a number, a boolean or null."""
        found: list[Any] = [self.value]
        with suppress(ValueError, RecursionError):
            found.append(json.loads(self.value))
        return [json.dumps(value, ensure_ascii=False) for value in found if _is_storable(value)]

    def places(self) -> Iterator[tuple[str, int]]:
        """Yield the registered processors that have a parameter of this name, and its position."""
        for name, definition in registry.definitions.items():
            try:
                parameters = list(inspect.signature(definition.source).parameters)
            except (TypeError, ValueError):  # a class written in C
                continue
            parameters = parameters[int(definition.takes_context) :]
            if self.name in parameters:
                yield name, parameters.index(self.name)


def _is_storable(value: Any) -> bool:
    """Return whether an argument may have a value: PostgreSQL refuses to compare with any other."""
    if isinstance(value, float):
        return isfinite(value)
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= letter <= "\udfff" for letter in value)
    return not isinstance(value, dict | list)


def with_argument(request: HttpRequest, tasks: QuerySet[Any], term: ArgumentTerm) -> QuerySet[Any]:
    """Select the latest tasks that have an argument; select none, with a warning, if it is a secret."""
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
    """The filter of ``?argument=order:4711``; shown only while in use, because it has no fixed choices."""

    title, parameter_name = _("argument"), "argument"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Return the value that is searched for."""
        value = self.value()
        return [] if value is None else [(value, value)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Select the tasks with the argument; without a name, select none."""
        term = ArgumentTerm.of(self.value() or "")
        return queryset.none() if term is None else with_argument(request, queryset, term)
