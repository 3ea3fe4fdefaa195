"""Offer admin actions to users with permission: in the menu of a list, and as buttons of a row's page.

``TaskAdmin`` and ``ScheduleAdmin`` use this; ``actions`` and ``schedule_actions`` define the actions.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse

if TYPE_CHECKING:
    ModelAdminBase = admin.ModelAdmin[Any]
else:
    ModelAdminBase = object


def admin_action(
    action: Any, act_on: Callable[[Any, Any, HttpRequest, QuerySet[Any]], HttpResponse | None]
) -> Callable[..., HttpResponse | None]:
    """Return the function that Django's list calls for an action, with the selected rows."""

    def act(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponse | None:
        return act_on(action, model_admin, request, queryset)

    act.__name__ = action.name
    return admin.action(description=action.label, permissions=[action.permission])(act)


def has_permission(request: HttpRequest, permission: str) -> bool:
    """Return whether the user has a permission of this application."""
    return request.user.has_perm(f"django_partisan.{permission}")


class OffersActions(ModelAdminBase):
    """A model admin that offers actions to users with their permissions, and refuses them to others.

    An action has a ``name``, a ``label``, a ``permission``, for which the class has a method such as
    ``has_cancel_task_permission()``, and ``suits(row)``: whether it applies to a row in its current state.
    """

    offered: Mapping[str, Any]
    """The actions by name."""

    def is_permitted(self, request: HttpRequest, action: Any) -> bool:
        """Return whether the user has the permission for an action; subclasses may override its method."""
        allowed: bool = getattr(self, f"has_{action.permission}_permission")(request)
        return allowed

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Show the list, or carry out an action; raise ``PermissionDenied`` without its permission."""
        posted = (self.offered.get(name) for name in request.POST.getlist("action"))
        if not all(action is None or self.is_permitted(request, action) for action in posted):
            raise PermissionDenied
        return super().changelist_view(request, extra_context)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show a row's page with the buttons of the actions that apply to the row in its current state."""
        row = self.get_object(request, unquote(object_id))
        buttons = [] if row is None else self._buttons(request, row)
        return super().change_view(
            request, object_id, form_url, {"partisan_buttons": buttons, **(extra_context or {})}
        )

    def _buttons(self, request: HttpRequest, row: Any) -> list[Any]:
        return [
            each for each in self.offered.values() if self.is_permitted(request, each) and each.suits(row)
        ]
