"""Columns of lists and pages, and a read-only model admin."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from django_stubs_ext import StrPromise

UNREADABLE: Final = _("Python cannot read this JSON.")
"""Shown in place of a value that only SQL can write, such as an integer with too many digits for Python."""


def column(
    field: str, title: "str | StrPromise", shown: Callable[[Any], Any] = lambda value: value, **options: Any
) -> Any:
    """Return a column that shows a field under the name that the documentation uses."""

    def shown_field(_admin: Any, row: Any) -> Any:
        return shown(getattr(row, field))

    return admin.display(description=title, **options)(shown_field)


class ReadOnly:
    """A model admin that only shows rows, to users with the *view* permission: managers rely on the rows."""

    def _refuse(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    has_add_permission = has_change_permission = has_delete_permission = _refuse
