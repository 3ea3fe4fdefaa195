"""Determine how many tasks the list searches, and whether the table has more."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from django_partisan.admin.argument_search import ARGUMENTS_SEARCHED_MAX, ArgumentTerm
from django_partisan.admin.filters import STATUS, has_index, indexes_of, rows_to_read
from django_partisan.admin.indexed_selection import has_more
from django_partisan.admin.paging import LISTED_MAX, SEARCHED_MAX
from django_partisan.models import Task


class SearchLimit(NamedTuple):
    """How many tasks are searched: the latest of all tasks, or of each queue the first in an index."""

    latest: int | None = None
    of_queue: int | None = None

    def is_partial(self, database: str) -> bool:
        """Return whether the table has tasks that are not searched."""
        if self.of_queue is not None:
            return True
        if self.latest is None:
            return False
        ids = Task.objects.using(database).order_by("-pk").values_list("pk")
        return ids[self.latest : self.latest + 1].exists()


def search_limit(parameters: Mapping[str, Any], database: str) -> SearchLimit:
    """Return the limit for the filters and the search in a query string.

    ``of_queue`` is set only if a queue has more tasks.
    """
    return SearchLimit(latest_searched(parameters), searched_per_queue(parameters, database))


def searched_per_queue(parameters: Mapping[str, Any], database: str) -> int | None:
    """Return how many tasks of each queue are searched; ``None`` if no queue has more."""
    if not has_index(parameters) or (limit := rows_to_read(parameters)) == LISTED_MAX:
        return None
    has_others = has_more(database, indexes_of(parameters), limit, parameters.get("queue"))
    return limit if has_others else None


def is_list_partial(parameters: Mapping[str, Any], database: str) -> bool:
    """Return whether a filter without a search has more tasks of a queue than the list shows."""
    limit, queue = rows_to_read(parameters), parameters.get("queue")
    return limit == LISTED_MAX and has_more(database, indexes_of(parameters), limit, queue)


def latest_searched(parameters: Mapping[str, Any]) -> int | None:
    """Return how many of the latest tasks are searched; ``None`` if the search is not limited to them."""
    term = parameters.get("q", "").strip()
    if "argument" in parameters or ArgumentTerm.of(term):
        return ARGUMENTS_SEARCHED_MAX
    if term.isdecimal() or has_index(parameters):
        return None
    filters = {STATUS, "queue", "processor"}.intersection(parameters)
    return SEARCHED_MAX if filters or term else None
