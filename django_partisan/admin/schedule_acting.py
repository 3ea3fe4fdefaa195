"""The actions on schedules, each for users with its permission."""

from typing import Any

from django.http import HttpRequest

from django_partisan.admin.acting import OffersActions, admin_action, has_permission
from django_partisan.admin.schedule_actions import ACTIONS, act_on


class OffersScheduleActions(OffersActions):
    """Offer the actions on schedules; each acts at once."""

    offered = ACTIONS
    actions: Any = [admin_action(action, act_on) for action in ACTIONS.values()]

    def has_run_schedule_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may run schedules now."""
        return has_permission(request, "run_schedule")

    def has_pause_schedule_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may pause and resume schedules."""
        return has_permission(request, "pause_schedule")
