"""Write entries in the admin's log for actions on tasks."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest
from django.utils.translation import gettext

from django_partisan.models import Task

LOGGED_MAX: Final = 100
"""An action on more tasks than this is logged as one entry for all of them."""


class ActionResult(NamedTuple):
    """A task that an action has changed, and the change in words, such as ``Requeued``."""

    id: int
    processor: str
    message: str


def log_each(request: HttpRequest, acted: Iterable[ActionResult], flag: int, comment: str) -> None:
    """Write an entry for each task; it appears on the task's page under *History*."""
    entries = [
        _entry(
            request,
            flag,
            f"{task.processor} {task.id}",
            _with_comment(comment, f"{task.message}."),
            str(task.id),
        )
        for task in acted
    ]
    LogEntry.objects.bulk_create(entries)


def log_all(
    request: HttpRequest, done: str, number: int, flag: int, filters: Sequence[str], comment: str
) -> None:
    """Write one entry for an action on many tasks, with its results, their number and the filters."""
    words = (
        done
        if not filters
        else gettext("%(what)s Filters: %(filters)s.")
        % {
            "what": done,
            "filters": "; ".join(filters),
        }
    )
    name = gettext("%(count)d tasks") % {"count": number}
    LogEntry.objects.bulk_create([_entry(request, flag, name, _with_comment(comment, words), None)])


def _entry(request: HttpRequest, flag: int, shown: str, message: str, object_id: str | None) -> LogEntry:
    kind = ContentType.objects.get_for_model(Task)
    return LogEntry(
        user_id=str(request.user.pk),
        content_type_id=kind.pk,
        object_id=object_id,
        object_repr=shown[:200],
        action_flag=flag,
        change_message=message,
    )


def _with_comment(comment: str, words: str) -> str:
    return (
        gettext("%(what)s Comment: %(comment)s") % {"what": words, "comment": comment} if comment else words
    )
