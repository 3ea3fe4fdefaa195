"""List the columns of a model."""

from typing import Any

from django.db.models import Field, Model


def fields_with_column(model: type[Model]) -> list["Field[Any, Any]"]:
    """Return the fields that have a column, in the order in which ``Model.from_db()`` takes their values."""
    return [field for field in model._meta.get_fields() if isinstance(field, Field) and field.concrete]
