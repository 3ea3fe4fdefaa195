"""How many tasks the list reads: how far it can be paged through, and which tasks a search looks at."""

from typing import TYPE_CHECKING, Any, Final

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

from django_partisan.models import Task

if TYPE_CHECKING:
    PaginatorBase = Paginator[Any]
else:
    PaginatorBase = Paginator

LISTED_MAX: Final = 10_000
"""How many of the latest tasks can be paged through and selected at once."""
SEARCHED_MAX: Final = 50_000
"""How many of the latest tasks are searched for what no index finds."""


class BoundedPaginator(PaginatorBase):
    """A paginator that stops counting at ``LISTED_MAX``."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows.order_by().values("pk")[:LISTED_MAX].count() if isinstance(rows, QuerySet) else len(rows)


def latest(tasks: QuerySet[Any], number: int = SEARCHED_MAX) -> QuerySet[Any]:
    """Select those that are among the latest ``number`` tasks, by the primary key."""
    ids = Task.objects.using(tasks.db).order_by("-pk").values_list("pk", flat=True)
    first = ids[number - 1 : number].first()
    return tasks if first is None else tasks.filter(pk__gte=first)
