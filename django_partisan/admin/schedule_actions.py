"""The actions on schedules in the admin: run, pause and resume them."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from django.contrib import messages
from django.db import Error
from django.http import HttpRequest
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_partisan import scheduling
from django_partisan.exceptions import PartisanError
from django_partisan.models import Schedule

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise


class ScheduleAction(NamedTuple):
    """An action: its name in requests, texts, permission, function, and the rows to which it applies."""

    name: str
    button: "StrPromise"
    label: "StrPromise"
    permission: str
    act: Callable[[str], str]
    """Acts on the schedule with a name, and returns a message about the result."""
    suits: Callable[[Schedule], bool]


def _run(name: str) -> str:
    task_id = scheduling.run_now(name)
    if task_id is None:
        return gettext("Not run: its last task is still waiting or running.")
    return gettext("Enqueued task %(task)d.") % {"task": task_id}


def _pause(name: str) -> str:
    scheduling.pause(name, comment=None)
    return gettext("Paused.")


def _resume(name: str) -> str:
    scheduling.resume(name)
    return gettext("Resumed.")


ACTIONS: Final = {
    action.name: action
    for action in (
        ScheduleAction(
            "run_now", _("Run now"), _("Run selected schedules now"), "run_schedule", _run, lambda row: True
        ),
        ScheduleAction(
            "pause", _("Pause"), _("Pause selected schedules"), "pause_schedule", _pause,
            lambda row: not row.paused,
        ),
        ScheduleAction(
            "resume", _("Resume"), _("Resume selected schedules"), "pause_schedule", _resume,
            lambda row: row.paused,
        ),
    )
}  # fmt: skip


def act_on(
    action: ScheduleAction, model_admin: Any, request: HttpRequest, queryset: Iterable[Schedule]
) -> None:
    """Act on the schedules one by one."""
    for row in queryset:
        _carry_out(action, model_admin, request, row)


def _carry_out(action: ScheduleAction, model_admin: Any, request: HttpRequest, row: Schedule) -> None:
    """Act on one schedule, log the action, and show the result; an error does not stop the others."""
    try:
        happened = action.act(row.name)
    except (PartisanError, TypeError, ValueError, Error) as error:
        words = gettext("Schedule %(schedule)s: %(error)s") % {"schedule": row.name, "error": error}
        model_admin.message_user(request, words, messages.ERROR)
        return
    model_admin.log_change(request, row, happened)
    words = gettext("Schedule %(schedule)s: %(happened)s") % {"schedule": row.name, "happened": happened}
    model_admin.message_user(request, words, messages.SUCCESS)
