"""The one seam between the core and everything that watches it.

The core tells events (``tell``) and opens scopes (``around``); it never calls a logger, a tracer
or a metric. A ``Subscriber`` listens. One that raises is counted, told once on standard error,
and never reaches the task.
"""

import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from django_partisan.definitions import TaskDefinition
from django_partisan.telemetry.events import (
    Event,
    Scope,
    TaskCompleted,
    TaskRef,
    TaskStarted,
)
from django_partisan.telemetry.task_context import can_be_stored


class Subscriber:
    """Watch the core; every method does nothing by default.

    ``name`` stands in counters of swallowed errors (``logs``, ``traces``, ``metrics``, ...).
    """

    name = "subscriber"

    def wants(self, kind: type[Event]) -> bool:
        """Tell whether events of this kind are of use now; asked again at every ``refresh()``."""
        return type(self).handle is not Subscriber.handle

    def handle(self, event: Event) -> None:
        """Take note of an event. Must not block."""

    def around(self, scope: Scope) -> AbstractContextManager[None]:
        """Return a context manager for an enqueueing or a run."""
        return nullcontext()

    def surrounds_every_run(self) -> bool:
        """Tell whether ``around`` is of use for a run whose task carries no context."""
        return type(self).around is not Subscriber.around

    def quiet(self) -> AbstractContextManager[None]:
        """Return a context manager in which our own statements are not watched."""
        return nullcontext()

    def headers(self) -> Mapping[str, str]:
        """Return strings to store with a task that is being enqueued."""
        return {}

    def preload(self) -> None:
        """Import what it will need in workers; called in the fork server, where nothing may be started."""

    def take(self) -> Any:
        """Return a plain value for this worker's next message up, or ``None``."""
        return None

    def absorb(self, slot: int, value: Any) -> None:
        """Receive, in the manager, what ``take()`` gave in the worker of that slot."""

    def close(self, timeout: float) -> None:
        """Flush, within ``timeout`` seconds; the process is about to end."""


swallowed: Counter[str] = Counter()
"""Errors of subscribers by subscriber name, and ``headers`` for carried contexts that were dropped."""

_subscribers: list[Subscriber] = []
_handlers: dict[type, tuple[Callable[[Any], None], ...]] = {}
_wrapping: tuple[Subscriber, ...] = ()
_heading: tuple[Subscriber, ...] = ()
_tools: dict[str, Callable[[TaskRef, TaskDefinition], Any]] = {}
_each_run_is_watched = False
_each_run_is_surrounded = False
_told: set[str] = set()
_lock = threading.Lock()


def subscribe(subscriber: Subscriber) -> None:
    """Have ``subscriber`` hear every event from now on."""
    with _lock:
        _subscribers.append(subscriber)
    refresh()


def unsubscribe(subscriber: Subscriber) -> None:
    """Have ``subscriber`` hear nothing more."""
    with _lock:
        _subscribers.remove(subscriber)
    refresh()


def subscribers() -> tuple[Subscriber, ...]:
    """Return those who listen, in the order in which they hear."""
    return tuple(_subscribers)


def refresh() -> None:
    """Ask the subscribers again what they want, as log levels may have changed."""
    global _wrapping, _heading, _each_run_is_watched, _each_run_is_surrounded
    listening = subscribers()
    _handlers.clear()  # filled again on demand by _handlers_of()
    _wrapping = tuple(s for s in listening if type(s).around is not Subscriber.around)
    _heading = tuple(s for s in listening if type(s).headers is not Subscriber.headers)
    _each_run_is_surrounded = any(s.surrounds_every_run() for s in listening)
    _each_run_is_watched = bool(
        _each_run_is_surrounded or _handlers_of(TaskStarted) or _handlers_of(TaskCompleted)
    )


def wanted(kind: type[Event]) -> bool:
    """Tell whether anybody listens to events of this kind."""
    return bool(_handlers_of(kind))


def each_run_is_watched() -> bool:
    """Tell whether anybody wants to hear of every run, or be around it, even if it carries no context."""
    return _each_run_is_watched


def each_run_is_surrounded() -> bool:
    """Tell whether anybody wants to be around every run, even if it carries no context."""
    return _each_run_is_surrounded


def emit(kind: type[Event], *values: Any) -> None:
    """Tell the event ``kind(*values)``; it is not even made where nobody wants it."""
    handlers = _handlers.get(kind)
    if handlers is None:
        handlers = _handlers_of(kind)
    if not handlers:
        return
    event = kind(*values)
    for handle in handlers:
        try:
            handle(event)
        except Exception:
            swallow(_name_of(handle))


def around(scope: Scope) -> AbstractContextManager[None]:
    """Return a context manager in which every subscriber's own ``around`` is entered."""
    return _Surroundings(_wrapping, lambda one: one.around(scope)) if _wrapping else _NOTHING_AROUND


def provide(name: str, make: Callable[[TaskRef, TaskDefinition], Any]) -> None:
    """Have ``make(task, definition)`` give running tasks their ``self.log`` or ``self.metrics``."""
    _tools[name] = make


def tool(name: str, task: TaskRef, definition: TaskDefinition) -> Any:
    """Return what was provided under ``name`` for a running task."""
    return _tools[name](task, definition)


def quiet() -> AbstractContextManager[None]:
    """Return a context manager for our own polls and heartbeats, which are no news."""
    return _Surroundings(subscribers(), lambda one: one.quiet())


def headers() -> dict[str, str]:
    """Return what the subscribers want stored with a new task.

    What is longer than ``carried_context.MAX_BYTES``, or no text that PostgreSQL's JSON can hold, is dropped
    as a whole and counted: a task is never refused for its context.
    """
    collected: dict[str, str] = {}
    for subscriber in _heading:
        try:
            collected.update(subscriber.headers())
        except Exception:
            swallow(subscriber.name)
    if collected and not can_be_stored(collected):
        swallowed["headers"] += 1
        return {}
    return collected


def preload() -> None:
    """Have the subscribers import what they will need in the workers that are forked from this process."""
    for subscriber in subscribers():
        try:
            subscriber.preload()
        except Exception:
            swallow(subscriber.name)


def take() -> list[tuple[str, Any]]:
    """Return the subscribers' values for the next message up, by subscriber name."""
    taken = []
    for subscriber in subscribers():
        try:
            value = subscriber.take()
        except Exception:
            swallow(subscriber.name)
        else:
            if value is not None:
                taken.append((subscriber.name, value))
    return taken


def absorb(slot: int, taken: list[tuple[str, Any]]) -> None:
    """Hand each value to the subscriber of the same name in this process."""
    for name, value in taken:
        for subscriber in subscribers():
            if subscriber.name == name:
                try:
                    subscriber.absorb(slot, value)
                except Exception:
                    swallow(name)


def close(timeout: float) -> None:
    """Close every subscriber; ``timeout`` seconds are for each."""
    for subscriber in subscribers():
        try:
            subscriber.close(timeout)
        except Exception:
            swallow(subscriber.name)


def swallow(name: str) -> None:
    """Count the error under way for a subscriber; tell its first one on standard error."""
    swallowed[name] += 1
    with _lock:
        first = name not in _told
        _told.add(name)
    if first:
        try:
            print(
                f"django_partisan: the {name} subscriber raised; further errors are only counted.",
                file=sys.stderr,
            )
            traceback.print_exc()
        except Exception:  # standard error is closed: the count stands, the task goes on
            swallowed["stderr"] += 1


_NOTHING_AROUND: Final = nullcontext()


class _Surroundings:
    """Enter the context manager that each subscriber's method returns; never let their own errors out.

    A class rather than an ``ExitStack`` in a generator: it is entered for every run.
    """

    __slots__ = ("_entered", "_make", "_subscribers")

    def __init__(
        self,
        subscribers: tuple[Subscriber, ...],
        make: Callable[[Subscriber], AbstractContextManager[None]],
    ) -> None:
        self._subscribers = subscribers
        self._make = make
        self._entered: list[tuple[Subscriber, AbstractContextManager[None]]] = []

    def __enter__(self) -> None:
        for subscriber in self._subscribers:
            try:
                inner = self._make(subscriber)
                if type(inner) is not nullcontext:
                    inner.__enter__()
                    self._entered.append((subscriber, inner))
            except Exception:
                swallow(subscriber.name)

    def __exit__(self, *error: Any) -> None:
        for subscriber, inner in reversed(self._entered):
            try:
                inner.__exit__(*error)
            except BaseException as raised:
                if raised is not error[1]:
                    swallow(subscriber.name)


def _handlers_of(kind: type[Event]) -> tuple[Callable[[Any], None], ...]:
    handlers = _handlers.get(kind)
    if handlers is None:
        handlers = tuple(s.handle for s in _subscribers if _is_wanted(s, kind))
        _handlers[kind] = handlers
    return handlers


def _is_wanted(subscriber: Subscriber, kind: type[Event]) -> bool:
    try:
        return subscriber.wants(kind)
    except Exception:
        swallow(subscriber.name)
        return False


def _name_of(handle: Callable[[Any], None]) -> str:
    owner = getattr(handle, "__self__", None)
    return owner.name if isinstance(owner, Subscriber) else "subscriber"
