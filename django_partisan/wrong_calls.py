"""The errors for wrong calls of ``delay()`` and ``bulk_delay()``, each with the remedy."""

from asyncio import get_running_loop
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from inspect import Signature
from typing import Any, Final

from django.core.exceptions import SynchronousOnlyOperation

from django_partisan.exceptions import NotAProcessor, ProcessorNotInitialized
from django_partisan.models import Task
from django_partisan.registrable import ProcessorBase, described

# Options of other task queues, and our option that does the same; the examples are below.
_SAME: Final[Mapping[str, str]] = {
    **dict.fromkeys(
        (
            "at", "countdown", "defer_by", "defer_until", "delay", "enqueue_at", "enqueue_in", "eta",
            "execute_at", "run_after", "run_at", "schedule", "schedule_at", "schedule_in", "seconds", "when",
        ),
        "execute_after",
    ),
    **dict.fromkeys(("queue", "routing_key"), "queue_name"),
    **dict.fromkeys(("expire", "expires_at", "expires_in", "expires_seconds", "expiry", "ttl"), "expires"),
    "at_front": "priority",
}  # fmt: skip
_EXAMPLES: Final[Mapping[str, str]] = {
    "execute_after": "execute_after=timezone.now() + timedelta(seconds=60)",
    "queue_name": "queue_name='mail'",
    "expires": "expires=timedelta(minutes=10)",
    "priority": "priority=0",
}
# Options of other task queues, and the attribute of the processor that does the same.
_ATTRIBUTES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("queue", "queue_name", "routing_key"), "QUEUE_NAME"),
    **dict.fromkeys(("max_retries", "retries", "retry", "retry_policy"), "RETRY_ON_ERROR_CONFIG"),
    **dict.fromkeys(("job_id", "task_id", "unique"), "UNIQUE_FOR_PARAMS"),
}
# Options of other task queues that have no counterpart.
_WITHOUT_COUNTERPART: Final = {
    "depends_on", "failure_ttl", "ignore_result", "job_timeout", "link", "link_error",
    "result_ttl", "soft_time_limit", "time_limit", "timeout",
}  # fmt: skip


class _SetByInit:
    """An attribute that ``BaseTaskProcessor.__init__()`` sets; reading it earlier raises an error."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        raise ProcessorNotInitialized(
            f"{owner.__name__}.{self._name} is not set; expected {owner.__name__}.__init__() to call "
            "super().__init__(*args, **kwargs), which stores the arguments of the task."
        )


def set_by_init() -> Any:
    """Return the class attribute for an attribute that ``__init__()`` sets on the instance."""
    return _SetByInit()


def unknown_options(call: str, given: Collection[str], known: Sequence[str]) -> TypeError:
    """Return the error for options that ``call``, such as ``Letter.delay()``, does not have."""
    listed, expected = " and ".join(map(repr, given)), " or ".join(known)
    remedies = " ".join(dict.fromkeys(_remedy(call, name, known) for name in given))
    return TypeError(f"{call} has no option {listed}; expected {expected}. {remedies}")


def _remedy(call: str, name: str, known: Sequence[str]) -> str:
    plain = name.strip("_")
    if (same := _SAME.get(plain)) in known:
        return f"Instead of {name}= use {_EXAMPLES[str(same)]}."
    if plain in _ATTRIBUTES:
        return f"Instead of {name}= set {_ATTRIBUTES[plain]} on the processor."
    if plain in _WITHOUT_COUNTERPART:
        return f"django-partisan has no option like {name}=."
    if close := get_close_matches(name, known, 1, 0.7):
        return f"Did you mean {close[0]}=?"
    return f"Pass the arguments of the task to the constructor, as in MyProcessor({name}=...)."


def not_a_processor(call: str, item: object, place: int | None = None) -> NotAProcessor:
    """Return the error for an item that is not a processor object, where ``call`` needs one."""
    what = "the object" if place is None else f"item {place}"
    example = "MyProcessor(...)"
    if isinstance(item, type) and issubclass(item, ProcessorBase):
        found, example = f"the class {item.__name__} itself", f"{item.__name__}(...)"
    elif isinstance(item, Task):
        found = f"the row of the task {item.pk}, which is enqueued already"
        example = f"{item.processor_class}(...)"
    else:
        found = described(item)
    return NotAProcessor(f"{call}: {what} is {found}; expected a processor object, {example}.")


def one_processor(call: str, name: str) -> NotAProcessor:
    """Return the error for one processor object where ``call`` needs several."""
    return NotAProcessor(
        f"{call} was given one object of {name}; expected an iterable of them. Use {name}(...).delay()."
    )


@cache
def _signature(init: Callable[..., None]) -> Signature:
    """Return the signature with which a constructor is called; do not follow decorators."""
    return Signature.from_callable(init, follow_wrapped=False)


def ensure_repeatable(processor_class: type[Any], args: Any, kwargs: Any) -> None:
    """Raise ``TypeError`` if a worker could not create the same object from its stored arguments."""
    try:
        _signature(processor_class.__init__).bind(None, *args, **kwargs)
    except TypeError as error:
        name = processor_class.__name__
        raise TypeError(
            f"A worker could not create the same object with {name}(*self.args, **self.kwargs): {error}. "
            f"In {name}.__init__(), pass its own arguments to super().__init__()."
        ) from None


@contextmanager
def only_synchronous(call: str, instead: str) -> Iterator[None]:
    """Make Django's error about asynchronous code name ``instead`` as the remedy."""
    try:
        yield
    except SynchronousOnlyOperation:
        if not _is_in_event_loop():  # a receiver, or a task in immediate mode, is asynchronous
            raise
        raise SynchronousOnlyOperation(
            f"{call} was called in asynchronous code, where Django refuses queries; use `{instead}`."
        ) from None


def _is_in_event_loop() -> bool:
    try:
        get_running_loop()
    except RuntimeError:
        return False
    return True
