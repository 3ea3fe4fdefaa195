"""Which actions the admin offers to whom: in the menu of the list, and as buttons of a task's page."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

from django_partisan.admin.actions import ACTIONS, TaskAction
from django_partisan.admin.confirming import respond
from django_partisan.admin.selection import Selection
from django_partisan.models import Task


def admin_action(action: TaskAction) -> Callable[..., Any]:
    """Return the function that Django's list calls for an action."""

    def act(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse:
        return respond(action, model_admin, request, queryset)

    act.__name__ = action.name
    return admin.action(description=action.label, permissions=[action.permission])(act)


class OffersActions:
    """Offer the actions to users with their permissions, and refuse them to others."""

    actions: Any = [admin_action(action) for action in ACTIONS.values()]
    admin_site: Any

    def may(self, request: HttpRequest, action: TaskAction) -> bool:
        """Return whether the user has the permission for an action; each has a method, for subclasses."""
        allowed: bool = getattr(self, f"has_{action.permission}_permission")(request)
        return allowed

    def has_requeue_task_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may requeue tasks."""
        return _has(request, "requeue_task")

    def has_cancel_task_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may cancel tasks."""
        return _has(request, "cancel_task")

    def has_run_task_now_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may make scheduled tasks due now."""
        return _has(request, "run_task_now")

    def has_prioritize_task_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may change priorities."""
        return _has(request, "prioritize_task")

    def has_delete_task_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may delete tasks that are done."""
        return _has(request, "delete_task")

    def refuse_unpermitted(self, request: HttpRequest) -> None:
        """Raise ``PermissionDenied`` if the user posts an action without its permission."""
        posted = (ACTIONS.get(name) for name in request.POST.getlist("action"))
        if not all(action is None or self.may(request, action) for action in posted):
            raise PermissionDenied

    def buttons(self, request: HttpRequest, task: Task) -> list[TaskAction]:
        """Return the actions that the user may take on a task as it is."""
        own = Selection([task.pk], asked=1, is_all=False, is_cut=False, filters=[], reasons=())
        return [each for each in ACTIONS.values() if self.may(request, each) and each.suitable(own).exists()]


def _has(request: HttpRequest, permission: str) -> bool:
    return request.user.has_perm(f"django_partisan.{permission}")
