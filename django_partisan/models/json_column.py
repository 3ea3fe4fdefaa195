"""A column of JSON whose rows can be loaded whatever SQL has written into it."""

from typing import Any

from django.db import models


class JSONColumn(models.JSONField):
    """Load JSON that Python cannot read as the text that PostgreSQL returns.

    Django does so only for text that is no JSON: lists that are nested too deep, and integers with too many
    digits, would keep every row of a query from being loaded. For migrations it is a plain ``JSONField``.
    """

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """Return the value, or its text."""
        try:
            return super().from_db_value(value, expression, connection)
        except (ValueError, RecursionError):
            return value

    def deconstruct(self) -> Any:
        """Return the parts of a ``JSONField``, so that no migration depends on this class."""
        name, _, args, kwargs = super().deconstruct()
        return name, "django.db.models.JSONField", args, kwargs
