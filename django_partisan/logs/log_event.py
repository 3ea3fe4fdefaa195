"""What is declared of a log event, and ``LOG_EVENTS``, in which every one of them stands."""

import logging
from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from django_partisan.logs.fields import Field
from django_partisan.telemetry.events import Event

APP: Final = "app"
MANAGER: Final = "manager"
WORKER: Final = "worker"

E = TypeVar("E", bound=Event)
Line: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of the message's template, and the values of the declared fields."""


class LogEvent(NamedTuple):
    """Declare a log event; ``line`` makes its arguments and its fields from the event.

    ``message`` is the template of one sentence with the numbers that matter. It holds nothing of an event,
    since error trackers group by it.
    """

    action: str
    level: int
    message: str
    by: tuple[str, ...]
    fields: tuple[Field, ...]
    when: str
    line: Callable[[Any], Line]
    is_expected: Callable[[Any], bool] | None = None
    """Where this returns true the line is at info, whatever ``level`` is."""

    def level_of(self, event: Any) -> int:
        """Return the level at which this event is logged."""
        return logging.INFO if self.is_expected is not None and self.is_expected(event) else self.level

    def lowest_level(self) -> int:
        """Return the lowest level at which any event of this kind is logged."""
        return self.level if self.is_expected is None else min(self.level, logging.INFO)


LOG_EVENTS: Final[dict[type, LogEvent]] = {}
"""Every log event, by the class of the events that it is made of."""


def log_event(
    kind: type[E],
    action: str,
    level: int,
    message: str,
    *,
    by: tuple[str, ...],
    fields: tuple[Field, ...],
    when: str,
    is_expected: Callable[[E], bool] | None = None,
) -> Callable[[Callable[[E], Line]], Callable[[E], Line]]:
    """Declare the decorated function as the one that makes the line of each event of ``kind``."""

    def declare(line: Callable[[E], Line]) -> Callable[[E], Line]:
        LOG_EVENTS[kind] = LogEvent(action, level, message, by, fields, when, line, is_expected)
        return line

    return declare
