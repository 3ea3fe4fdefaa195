"""Determine the tasks that a user of the admin has chosen for an action, and describe them in words."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext

from django_partisan.admin.paging import LISTED_MAX
from django_partisan.admin.search_limit import is_list_partial, search_limit
from django_partisan.models import Task, TaskQuerySet
from django_partisan.sql.connection import task_connection

CHOSEN: Final = "chosen"
"""The confirmation's field with the ids of the chosen tasks, so that the action applies to no other."""
FROM_PAGE: Final = "from_page"
"""The field that marks a post from a button of a task's page."""
ID_DIGITS: Final = 19
"""Numbers of this many digits may be larger than any id."""
_OF_THE_LIST: Final = frozenset({"o", "p", "all", "e", "q", "_changelist_filters"})


class Selection(NamedTuple):
    """The chosen tasks that exist, the filters in words, and the reasons of failure that a filter names."""

    ids: list[int]
    chosen_number: int
    """How many tasks were chosen, or shown by the confirmation."""

    is_all: bool
    is_cut: bool
    """Whether more tasks match, or may match."""

    filters: list[str]
    reasons: tuple[str, ...]
    is_searched_in_part: bool = False

    @property
    def tasks(self) -> TaskQuerySet:
        """The chosen tasks, in the database to which tasks are written."""
        tasks: TaskQuerySet = Task.objects.using(task_connection().alias).filter(pk__in=self.ids)
        return tasks


def read_selection(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> Selection:
    """Return the tasks that were chosen in the list or, after the confirmation, those that it showed.

    ``queryset`` has the chosen rows or, after *select all*, all rows that match the filters; of these, the
    latest ``LISTED_MAX`` are used.
    """
    database = task_connection().alias  # a replica may be behind
    is_all = request.POST.get("select_across") == "1"
    known: list[int] = []
    if CHOSEN in request.POST:
        posted = request.POST[CHOSEN].split(",")[:LISTED_MAX]
        known = [int(text) for text in posted if text.isdecimal() and len(text) < ID_DIGITS]
        queryset = model_admin.get_queryset(request).filter(pk__in=known)
    ids = list(queryset.using(database).order_by("-pk").values_list("pk", flat=True)[: LISTED_MAX + 1])
    asked = len(known) if CHOSEN in request.POST else len(ids)
    filters = list(_filters(model_admin, request)) if is_all else []
    reason = request.GET.get("reason")
    reasons = (reason,) if reason and is_all else ()
    is_searched_in_part = is_cut = False
    if is_all and CHOSEN not in request.POST:
        is_searched_in_part = search_limit(request.GET, database).is_partial(database)
        is_cut = is_searched_in_part or len(ids) > LISTED_MAX or is_list_partial(request.GET, database)
    return Selection(ids[:LISTED_MAX], asked, is_all, is_cut, filters, reasons, is_searched_in_part)


def first_chosen(request: HttpRequest) -> str:
    """Return the id of the task from whose page the action was posted."""
    return request.POST.getlist(ACTION_CHECKBOX_NAME)[0]


def _filters(model_admin: Any, request: HttpRequest) -> Iterator[str]:
    """Yield the filters and the search of the list in words, as the list shows them."""
    changelist = model_admin.get_changelist_instance(request)
    described = set(_OF_THE_LIST)
    for each in changelist.filter_specs:
        described.update(each.expected_parameters())
        if each.used_parameters:
            selected = [choice["display"] for choice in each.choices(changelist) if choice["selected"]]
            yield f"{each.title}: {', '.join(map(str, selected)) or '-'}"
    for name in sorted(set(request.GET) - described):
        yield f"{name}: {request.GET[name]}"
    if changelist.query:
        yield gettext("search: %(term)s") % {"term": changelist.query}
