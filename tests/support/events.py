"""A subscriber that records events, and a bus without subscribers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from django_partisan.telemetry import bus, swallowed
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events import Event

S = TypeVar("S", bound=Subscriber)


class RecordedEvents(Subscriber):
    """Record every event and every value that a worker sends; ``carried`` is stored with tasks as headers."""

    name = "recorded"

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.absorbed: list[tuple[int, Any]] = []
        self.carried: dict[str, str] = {}

    def handle(self, event: Event) -> None:
        self.events.append(event)

    def absorb(self, slot: int, value: Any) -> None:
        self.absorbed.append((slot, value))

    def headers(self) -> dict[str, str]:
        return self.carried

    def of(self, kind: type[Event]) -> list[Any]:
        """Return the events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def subscribed(subscriber: S) -> Iterator[S]:
    """Subscribe a subscriber to events inside a ``with`` block."""
    bus.subscribe(subscriber)
    try:
        yield subscriber
    finally:
        bus.unsubscribe(subscriber)


@contextmanager
def provided(**tools: Any) -> Iterator[None]:
    """Provide other tools to running tasks inside a ``with`` block."""
    before = dict(bus.tools)
    bus.tools.update(tools)
    try:
        yield
    finally:
        bus.tools.update(before)


@contextmanager
def no_subscribers() -> Iterator[None]:
    """Remove all subscribers inside a ``with`` block, and restore them at its end."""
    before = bus.subscribers()
    bus.exchange(before, ())
    swallowed._reported.clear()
    try:
        yield
    finally:
        bus.exchange(bus.subscribers(), before)
