"""The event bus between the core and its subscribers: logs, spans, metrics and Django signals.

The core emits events (``emit``) and opens scopes (``around``); it never calls a logger, a tracer or a metric.
If a subscriber raises, the error is counted, reported once on standard error, and never reaches the task.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from operator import methodcaller
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from django_partisan.definitions import TaskDefinition
from django_partisan.telemetry import swallowed
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.runs import TaskCompleted, TaskStarted
from django_partisan.telemetry.events.scopes import Scope
from django_partisan.telemetry.events.values import TaskRef
from django_partisan.telemetry.subscriber_calls import AroundEach, from_each
from django_partisan.telemetry.task_context import can_be_stored

if TYPE_CHECKING:
    from typing_extensions import TypeVarTuple, Unpack

    Values = TypeVarTuple("Values")


class Subscriber:
    """The base class of subscribers; by default every method does nothing.

    ``name`` is the label in counters of swallowed errors (``logs``, ``traces``, ``metrics``, ...).
    """

    name = "subscriber"

    def wants(self, kind: type[Event]) -> bool:
        """Return whether to receive events of this kind; called again at every ``refresh()``."""
        return type(self).handle is not Subscriber.handle

    def wants_in_bulk(self, kind: type[Event]) -> bool:
        """Return whether to receive an event of this kind for every task of a bulk; called for each bulk."""
        return True

    def handle(self, event: Event) -> None:
        """Receive an event. Must not block."""

    def around(self, scope: Scope) -> AbstractContextManager[None]:
        """Return a context manager to enter around an enqueueing, a batch of ticks or a run."""
        return nullcontext()

    def surrounds_every_run(self) -> bool:
        """Return whether ``around()`` does anything for a run whose task carries no context."""
        return type(self).around is not Subscriber.around

    def quiet(self) -> AbstractContextManager[None]:
        """Return a context manager in which the library's own statements are not recorded."""
        return nullcontext()

    def headers(self) -> Mapping[str, str]:
        """Return strings to store with a task that is being enqueued."""
        return {}

    def preload(self) -> None:
        """Import what workers will need; called in the fork server, where nothing may be started."""

    def take(self) -> Any:
        """Return a plain value for this worker's next report, or ``None``."""
        return None

    def absorb(self, slot: int, value: Any) -> None:
        """Receive, in the manager, the value that ``take()`` returned in the worker of this slot."""

    def close(self, timeout: float) -> None:
        """Flush within ``timeout`` seconds, because the process is about to end."""


LAST_SECONDS: Final = 0.5
"""The minimum time in seconds that ``close()`` gives the first subscriber; with less, its last lines are
lost."""


class _SubscribersByEvent(dict[Any, tuple[Subscriber, ...]]):
    """The subscribers that want each kind of event; filled on demand."""

    def __missing__(self, kind: Any) -> tuple[Subscriber, ...]:
        answers = from_each(subscribers(), lambda one: one.wants(kind))
        self[kind] = tuple(one for one, is_wanted in answers if is_wanted)
        return self[kind]


_subscribers: list[Subscriber] = []
_subscribers_by_event: Final = _SubscribersByEvent()
_wrapping: tuple[Subscriber, ...] = ()
_heading: tuple[Subscriber, ...] = ()
_NOTHING_AROUND: Final = nullcontext()
each_run_is_watched = False
"""Whether any subscriber wants events of every run, or enters a scope around every run."""
each_run_is_surrounded = False
"""Whether any subscriber enters a scope around every run, even if its task carries no context."""
tools: Final[dict[str, Callable[[TaskRef, TaskDefinition], Any]]] = {}
"""The functions that make a running task's ``self.log`` and ``self.metrics``, by name."""


def subscribe(subscriber: Subscriber) -> None:
    """Make ``subscriber`` receive all events from now on; subscribing it twice has no further effect."""
    if subscriber not in _subscribers:
        _subscribers.append(subscriber)
    refresh()


def unsubscribe(subscriber: Subscriber) -> None:
    """Make ``subscriber`` receive no more events."""
    _subscribers.remove(subscriber)
    refresh()


def exchange(old: Sequence[Subscriber], new: Sequence[Subscriber]) -> None:
    """Replace the subscribers ``old`` with ``new``, where the first of ``old`` was, or at the end."""
    place = min(map(_subscribers.index, old), default=len(_subscribers))
    _subscribers[place:] = [*new, *(one for one in _subscribers[place:] if one not in old)]
    refresh()


def subscribers() -> tuple[Subscriber, ...]:
    """Return the subscribers, in the order in which they receive events."""
    return tuple(_subscribers)


def refresh() -> None:
    """Ask the subscribers again what they want, for example because log levels may have changed."""
    global _wrapping, _heading, each_run_is_watched, each_run_is_surrounded
    _subscribers_by_event.clear()
    _wrapping = tuple(one for one in subscribers() if type(one).around is not Subscriber.around)
    _heading = tuple(one for one in subscribers() if type(one).headers is not Subscriber.headers)
    each_run_is_surrounded = any(one.surrounds_every_run() for one in subscribers())
    each_run_is_watched = each_run_is_surrounded or wanted(TaskStarted) or wanted(TaskCompleted)


def wanted(kind: type[Event]) -> bool:
    """Return whether any subscriber wants events of this kind."""
    return bool(_subscribers_by_event[kind])


def wanted_in_bulk(kind: type[Event]) -> bool:
    """Return whether any subscriber now wants an event of this kind for every task of a bulk."""
    return any(
        is_wanted
        for _, is_wanted in from_each(_subscribers_by_event[kind], lambda one: one.wants_in_bulk(kind))
    )


def emit(kind: "Callable[[Unpack[Values]], Event]", *values: "Unpack[Values]") -> None:
    """Emit the event ``kind(*values)``; it is constructed only if a subscriber wants it."""
    receivers = _subscribers_by_event[kind]
    if not receivers:
        return
    event = kind(*values)
    for subscriber in receivers:
        try:
            subscriber.handle(event)
        except Exception:
            swallowed.swallow(subscriber.name)


def around(scope: Scope) -> AbstractContextManager[None]:
    """Return a context manager that enters the ``around()`` of every subscriber."""
    return AroundEach(_wrapping, lambda one: one.around(scope)) if _wrapping else _NOTHING_AROUND


def quiet() -> AbstractContextManager[None]:
    """Return a context manager in which the library's own polls and heartbeats are not recorded."""
    return AroundEach(subscribers(), lambda one: one.quiet())


def headers() -> dict[str, str]:
    """Return the headers that the subscribers want to store with a new task, or with one that runs again.

    If they are longer than ``task_context.MAX_BYTES``, or not text that PostgreSQL's JSON can store, they are
    all dropped and counted: a task is never refused because of its context.
    """
    collected: dict[str, str] = {}
    for subscriber in _heading:
        try:
            collected.update(subscriber.headers())
        except Exception:
            swallowed.swallow(subscriber.name)
    if collected and not can_be_stored(collected):
        swallowed.counts["headers"] += 1
        return {}
    return collected


def preload() -> None:
    """Let the subscribers import what they will need in the workers that are forked from this process."""
    from_each(subscribers(), lambda one: one.preload())


def take() -> list[tuple[str, Any]]:
    """Return the subscribers' values for the next report, with the subscribers' names."""
    return [
        (one.name, value)
        for one, value in from_each(subscribers(), lambda one: one.take())
        if value is not None
    ]


def absorb(slot: int, taken: list[tuple[str, Any]]) -> None:
    """Pass each value to the subscriber of the same name in this process."""
    for name, value in taken:
        same_named = (one for one in subscribers() if one.name == name)
        from_each(same_named, methodcaller("absorb", slot, value))


def close(timeout: float) -> None:
    """Close every subscriber within ``timeout`` seconds, or ``LAST_SECONDS`` more.

    The first subscriber, logs, is closed last, because it writes what the others emit while they close. It
    gets at least ``LAST_SECONDS``, even if the others have used all of the time.
    """
    deadline = monotonic() + timeout
    first, others = subscribers()[:1], subscribers()[1:]
    from_each(reversed(others), lambda one: one.close(max(0.0, deadline - monotonic())))
    from_each(first, lambda one: one.close(max(deadline - monotonic(), LAST_SECONDS)))
