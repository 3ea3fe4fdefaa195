"""Offer the actions on schedules to users with the permission for each."""

from typing import Any

from django.http import HttpRequest

from django_partisan.admin.acting import OffersActions, admin_action, has_permission
from django_partisan.admin.schedule_actions import ACTIONS, act_on


class OffersScheduleActions(OffersActions):
    """A model admin that offers the actions on schedules, which act without a confirmation."""

    offered = ACTIONS
    actions: Any = [admin_action(action, act_on) for action in ACTIONS.values()]

    def has_run_schedule_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may run schedules now."""
        return has_permission(request, "run_schedule")

    def has_pause_schedule_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may pause and resume schedules."""
        return has_permission(request, "pause_schedule")
