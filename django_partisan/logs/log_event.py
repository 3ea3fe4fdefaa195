"""The declaration of log events, and ``LOG_EVENTS``, the table of all log events."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from django_partisan.logs.fields import Field
from django_partisan.telemetry.events import Event

APP: Final = "app"
MANAGER: Final = "manager"
WORKER: Final = "worker"

E = TypeVar("E", bound=Event)
Line: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""The arguments of the message template, and the values of the declared fields."""


class LogEvent(NamedTuple):
    """A log event; ``line`` returns the arguments of the message and the fields for an event.

    ``message`` is the template of one sentence with the most important numbers. It contains no values of
    an event, because error trackers group by it.
    """

    action: str
    level: int
    message: str
    by: tuple[str, ...]
    fields: tuple[Field, ...]
    when: str
    line: Callable[[Any], Line]
    lower: "LowerLevel | None" = None

    def level_of(self, event: Any) -> int:
        """Return the level at which an event is logged."""
        return self.level if self.lower is None or not self.lower.applies(event) else self.lower.level

    def lowest_level(self) -> int:
        """Return the lowest level at which any event of this kind is logged; ``level`` is the highest."""
        return self.level if self.lower is None else self.lower.level


class LowerLevel(NamedTuple):
    """A lower level, for those events of a kind for which ``applies`` returns true."""

    level: int
    applies: Callable[[Any], bool]


LOG_EVENTS: Final[dict[type, LogEvent]] = {}
"""Every log event, by the class of the events that it logs."""


def log_event(
    kind: type[E],
    action: str,
    level: int,
    message: str,
    *,
    by: tuple[str, ...],
    fields: tuple[Field, ...],
    when: str,
    lower: LowerLevel | None = None,
) -> Callable[[Callable[[E], Line]], Callable[[E], Line]]:
    """Declare a log event; the decorated function returns the line for each event of ``kind``."""

    def declare(line: Callable[[E], Line]) -> Callable[[E], Line]:
        LOG_EVENTS[kind] = LogEvent(action, level, message, by, fields, when, line, lower)
        return line

    return declare
