"""What a list answers to a query string with a value that only Python or PostgreSQL refuses.

Django redirects from lookups that it refuses itself to the list without them. Others, such as a year that no
date has, a NUL or a wrong regular expression, are refused when the rows are queried.
"""

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db import DataError
from django.http import HttpRequest

if TYPE_CHECKING:
    ModelAdminBase = admin.ModelAdmin[Any]
else:
    ModelAdminBase = object


class RefusesLookups(ModelAdminBase):
    """Treat a value that is refused late as Django treats one that is refused early."""

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Return the list; raise ``IncorrectLookupParameters`` for a value that cannot be looked up."""
        try:
            return super().get_changelist_instance(request)
        except (ValueError, OverflowError, DataError) as error:
            if not request.GET:
                raise
            raise IncorrectLookupParameters(str(error)) from error
