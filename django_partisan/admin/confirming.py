"""Confirm an action on tasks, carry it out, and log it.

The menu of the list and the buttons of a task's page post to the list. The first post shows the
confirmation; only the post of its form, which has the confirmed ids, acts. Django's list carries out no
action for another method, and accepts no post without a CSRF token.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext

from django_partisan.admin import admin_log
from django_partisan.admin.action_forms import ConfirmationForm
from django_partisan.admin.actions import TaskAction
from django_partisan.admin.admin_log import LOGGED_MAX
from django_partisan.admin.selection import FROM_PAGE, Selection, first_chosen, read_selection

SHOWN_MAX: Final = 10
"""How many of the tasks a confirmation lists."""


def respond(
    action: TaskAction, model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]
) -> HttpResponse:
    """Show the confirmation of an action or, once it is confirmed, carry the action out.

    ``queryset`` has the rows that were selected in the list.
    """
    selection = read_selection(model_admin, request, queryset)
    ids = list(action.suitable(selection).order_by("pk").values_list("pk", flat=True))
    if not ids:
        model_admin.message_user(request, action.unsuitable, messages.WARNING)
        return HttpResponseRedirect(_return_url(model_admin, request))
    is_confirmed = "confirmed" in request.POST
    form = action.form(request.POST if is_confirmed else None)
    if is_confirmed and form.is_valid():
        _carry_out(action, model_admin, request, selection, ids, form)
        return HttpResponseRedirect(_return_url(model_admin, request))
    return _confirmation(action, model_admin, request, selection, ids, form)


def _carry_out(
    action: TaskAction,
    model_admin: Any,
    request: HttpRequest,
    selection: Selection,
    ids: Sequence[int],
    form: ConfirmationForm,
) -> None:
    comment = form.cleaned_data.get("comment", "")
    numbers: Counter[str] = Counter()
    try:
        for batch in action.act(ids, form.cleaned_data):
            numbers.update(task.message for task in batch)
            if len(ids) <= LOGGED_MAX:
                admin_log.log_each(request, batch, action.flag, comment)
    finally:  # log what was done, even after an error
        if numbers and len(ids) > LOGGED_MAX:
            said = _result_message(action, numbers, selection.chosen_number)
            admin_log.log_all(request, said, numbers.total(), action.flag, selection.filters, comment)
    level = messages.SUCCESS if numbers.total() == selection.chosen_number else messages.WARNING
    model_admin.message_user(request, _result_message(action, numbers, selection.chosen_number), level)


def _result_message(action: TaskAction, numbers: Counter[str], chosen_number: int) -> str:
    """Return the results and their numbers in words, such as ``Requeued: 5. Not changed: 2 ...``."""
    parts = [
        gettext("%(said)s: %(count)d.") % {"said": said, "count": count} for said, count in numbers.items()
    ]
    if left := chosen_number - numbers.total():
        parts.append(gettext("Not changed: %(count)d (%(why)s).") % {"count": left, "why": action.left_alone})
    return " ".join(parts)


def _confirmation(
    action: TaskAction,
    model_admin: Any,
    request: HttpRequest,
    selection: Selection,
    ids: Sequence[int],
    form: ConfirmationForm,
) -> TemplateResponse:
    count = {"count": len(ids)}
    context = {
        **model_admin.admin_site.each_context(request),
        "title": action.button,
        "opts": model_admin.opts,
        "action": action,
        "question": action.question(len(ids)) % count,
        "selection": selection,
        "left": len(selection.ids) - len(ids),
        "shown": selection.tasks.filter(pk__in=ids[:SHOWN_MAX]).order_by("pk"),
        "more": max(len(ids) - SHOWN_MAX, 0),
        "form": form,
        "chosen": ",".join(map(str, ids)),
        "first": ids[0],
        "is_from_page": FROM_PAGE in request.POST,
        "back": _return_url(model_admin, request),
        "media": model_admin.media,
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "admin/django_partisan/task/confirmation.html", context)


def _return_url(model_admin: Any, request: HttpRequest) -> str:
    """Return the URL of the page that the user came from: the task's, if it still exists, or the list."""
    if FROM_PAGE in request.POST:
        task_id = first_chosen(request)
        if model_admin.get_queryset(request).filter(pk=task_id).exists():
            return reverse(f"{model_admin.admin_site.name}:django_partisan_task_change", args=[task_id])
    return request.get_full_path()
