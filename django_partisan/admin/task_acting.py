"""Offer the actions on tasks to users with the permission for each."""

from typing import Any

from django.http import HttpRequest

from django_partisan.admin.acting import OffersActions, admin_action, has_permission
from django_partisan.admin.actions import ACTIONS
from django_partisan.admin.confirming import respond


class OffersTaskActions(OffersActions):
    """A model admin that offers the actions on tasks, each with a confirmation."""

    offered = ACTIONS
    actions: Any = [admin_action(action, respond) for action in ACTIONS.values()]

    def has_requeue_task_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may requeue tasks."""
        return has_permission(request, "requeue_task")

    def has_cancel_task_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may cancel tasks."""
        return has_permission(request, "cancel_task")

    def has_run_task_now_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may make scheduled tasks due now."""
        return has_permission(request, "run_task_now")

    def has_prioritize_task_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may change priorities."""
        return has_permission(request, "prioritize_task")

    def has_delete_task_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may delete finished and failed tasks."""
        return has_permission(request, "delete_task")
