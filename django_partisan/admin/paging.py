"""Limit how many tasks the list reads: how many can be paged through, and how many a search covers."""

from typing import TYPE_CHECKING, Any, Final

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Page, Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from django_partisan.admin.list_columns import with_list_columns
from django_partisan.models import Task

if TYPE_CHECKING:
    PaginatorBase = Paginator[Any]
else:
    PaginatorBase = Paginator

LISTED_MAX: Final = 10_000
"""How many of the latest tasks can be paged through, and selected together."""
SEARCHED_MAX: Final = 50_000
"""How many of the latest tasks are searched if no index finds them."""


class BoundedPaginator(PaginatorBase):
    """A paginator that selects up to ``LISTED_MAX`` ids once, and fetches the tasks of each page by id."""

    object_list: Any

    @cached_property
    def ids(self) -> list[int]:
        """The ids of the listed rows, in the order of the list."""
        rows = self.object_list[:LISTED_MAX]
        return list(rows.values_list("pk", flat=True) if isinstance(rows, QuerySet) else rows)

    @cached_property
    def count(self) -> int:
        return len(self.ids)

    def page(self, number: Any) -> Any:
        """Return a page; raise the same errors as Django's paginator."""
        if getattr(self.object_list, "model", None) is not Task:  # the admin's history of a task, for example
            return super().page(number)
        start = (self.validate_number(number) - 1) * self.per_page
        return Page(self.rows(self.ids[start : start + self.per_page]), number, self)

    def rows(self, ids: list[int]) -> QuerySet[Any]:
        """Return the rows of some ids, without evaluating again the conditions that selected them."""
        tasks: QuerySet[Any] = with_list_columns(Task.objects.using(self.object_list.db).filter(pk__in=ids))
        return tasks.order_by(*self.object_list.query.order_by)


class TaskChangeList(ChangeList):
    """A change list that fetches rows by id even if they fit on one page."""

    paginator: BoundedPaginator

    def get_results(self, request: HttpRequest) -> None:
        """Choose the rows to show."""
        super().get_results(request)
        if not self.multi_page or (self.show_all and self.can_show_all):
            self.result_list = self.paginator.rows(self.paginator.ids)


def latest(tasks: QuerySet[Any], number: int = SEARCHED_MAX) -> QuerySet[Any]:
    """Select the tasks that are among the latest ``number`` tasks, by primary key."""
    ids = Task.objects.using(tasks.db).order_by("-pk").values_list("pk", flat=True)
    first = ids[number - 1 : number].first()
    return tasks if first is None else tasks.filter(pk__gte=first)
