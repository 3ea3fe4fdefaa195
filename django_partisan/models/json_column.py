"""A JSON field whose rows can always be loaded, whatever was written into the column with SQL."""

from typing import Any

from django.db import models


class JSONColumn(models.JSONField):
    """A ``JSONField`` that loads JSON which Python cannot parse as the text that PostgreSQL returns.

    Django does this only for text that is not JSON. For lists that are nested too deeply and for integers
    with too many digits it raises an error, and then no row of the query is loaded. In migrations this is a
    plain ``JSONField``.
    """

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """Return the parsed value, or its text if Python cannot parse it."""
        try:
            return super().from_db_value(value, expression, connection)
        except (ValueError, RecursionError):
            return value

    def deconstruct(self) -> Any:
        """Deconstruct as a ``JSONField``, so that no migration depends on this class."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs
