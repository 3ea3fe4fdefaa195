"""How far the list of tasks can be paged through."""

from typing import TYPE_CHECKING, Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.utils.functional import cached_property

if TYPE_CHECKING:
    PaginatorBase = Paginator[Any]
else:
    PaginatorBase = Paginator

# How many tasks, the latest, can be paged through; a filter or a search leads to the older ones.
LISTED_MAX = 10_000


class BoundedPaginator(PaginatorBase):
    """A paginator that stops counting at ``LISTED_MAX``."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list
        return rows.order_by()[:LISTED_MAX].count() if isinstance(rows, QuerySet) else len(rows)
