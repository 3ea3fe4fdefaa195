"""Redirect from a query string with a value that is refused only when the rows are queried.

Django redirects from lookups that it refuses itself to the list without them. Other values, such as a year
that no date has, a NUL, a wrong regular expression or an incomplete range, are refused only by Python, the
driver or PostgreSQL.
"""

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import ERROR_FLAG
from django.db import DataError, ProgrammingError
from django.http import HttpRequest

if TYPE_CHECKING:
    ModelAdminBase = admin.ModelAdmin[Any]
else:
    ModelAdminBase = object

_REFUSALS: Final = (ValueError, TypeError, IndexError, OverflowError, DataError, ProgrammingError)


class RefusesLookups(ModelAdminBase):
    """A model admin that treats a value that is refused late as Django treats one that is refused early."""

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list; raise ``IncorrectLookupParameters`` for a value that cannot be looked up."""
        try:
            return super().get_changelist_instance(request)
        except _REFUSALS as error:
            if not request.GET or ERROR_FLAG in request.GET:  # the list without lookups fails as well
                raise
            raise IncorrectLookupParameters(str(error)) from error
