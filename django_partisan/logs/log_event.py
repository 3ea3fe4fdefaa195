"""What is said of one log event: its name, how loud it is, who tells it, its fields."""

import logging
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from django_partisan.logs.fields import Field

APP: Final = "app"
MANAGER: Final = "manager"
WORKER: Final = "worker"
ROLES: Final = (APP, MANAGER, WORKER)


class LogEvent(NamedTuple):
    """Describe one event; ``values`` and ``wording`` make its fields and its message from an event."""

    action: str
    level: int
    by: tuple[str, ...]
    fields: tuple[Field, ...]
    when: str
    wording: Callable[[Any], str]
    values: Callable[[Any], dict[str, Any]]
    is_expected: Callable[[Any], bool] | None = None
    """Where this says yes the line is at info, whatever ``level`` says."""

    def level_of(self, event: Any) -> int:
        """Return the level at which this event is told."""
        if self.is_expected is not None and self.is_expected(event):
            return logging.INFO
        return self.level

    def lowest_level(self) -> int:
        """Return the lowest level at which any event of this kind is told."""
        return self.level if self.is_expected is None else min(self.level, logging.INFO)


def optional(*fields: Field) -> tuple[Field, ...]:
    return tuple(field._replace(optional=True) for field in fields)
