"""Factories for schedule rows."""

from typing import Any

from django_partisan.models import Schedule


def made(**given: Any) -> Schedule:
    """Insert a schedule with ``save()``, as a user does."""
    row = Schedule(**{"name": "nightly", "task": "Report", "every": 60, **given})
    row.save()
    return row


def of_settings(**given: Any) -> Schedule:
    """Insert a row as a manager does for a schedule of its settings."""
    row = Schedule(**{"name": "nightly", "task": "Report", "every": 60, "origin": "settings", **given})
    Schedule.objects.bulk_create([row])
    return stored(row.name)


def stored(name: str = "nightly") -> Schedule:
    """Return the current row of a schedule."""
    return Schedule.objects.get(pk=name)
