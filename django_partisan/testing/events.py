"""Capture the log events of a ``with`` block, whatever the project's ``LOGGING`` is."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django_partisan.logs.table import LOG_EVENTS
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Event


class CapturedEvent(NamedTuple):
    """One log event: its name (``event.action``), level, message, and the fields of its line."""

    name: str
    level: str
    message: str
    fields: dict[str, Any]


class CapturedEvents(list[CapturedEvent]):
    """Log events in the order in which they were emitted."""

    @property
    def names(self) -> list[str]:
        """The names of the events."""
        return [event.name for event in self]

    def named(self, name: str) -> list[CapturedEvent]:
        """Return the events with this name; raises ``ValueError`` if no log event has it."""
        known = sorted(one.action for one in LOG_EVENTS.values())
        if name not in known:
            raise ValueError(f"There is no log event {name!r}; known: {', '.join(known)}.")
        return [event for event in self if event.name == name]


@contextmanager
def captured_events() -> Iterator[CapturedEvents]:
    """Capture the log events of all levels that this process emits in a ``with`` block.

    The event of ``delay()`` is emitted after the commit. The project's own logging is not affected.
    """
    subscriber = _Capture()
    bus.subscribe(subscriber)
    try:
        yield subscriber.captured
    finally:
        bus.unsubscribe(subscriber)


class _Capture(bus.Subscriber):
    name = "captured_events"

    def __init__(self) -> None:
        self.captured = CapturedEvents()

    def wants(self, kind: type[Event]) -> bool:
        return kind in LOG_EVENTS

    def handle(self, event: Event) -> None:
        log_event = LOG_EVENTS[type(event)]
        arguments, fields = log_event.line(event)
        level = logging.getLevelName(log_event.level_of(event))
        message = log_event.message % arguments
        self.captured.append(CapturedEvent(log_event.action, level, message, fields))
