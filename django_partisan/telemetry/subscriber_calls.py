"""Call subscribers; an error in one is counted, and reaches neither the caller nor other subscribers."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

from django_partisan.telemetry import swallowed

if TYPE_CHECKING:
    from django_partisan.telemetry.bus import Subscriber

T = TypeVar("T")


def from_each(
    called: Iterable["Subscriber"], call: Callable[["Subscriber"], T]
) -> list[tuple["Subscriber", T]]:
    """Return each subscriber with its answer, leaving out those that raise."""
    answers = []
    for subscriber in called:
        try:
            answers.append((subscriber, call(subscriber)))
        except Exception:
            swallowed.swallow(subscriber.name)
    return answers


class AroundEach:
    """Enter the context manager that ``make`` returns for each subscriber; exit them in reverse order.

    A class rather than an ``ExitStack`` in a generator, because it is entered for every run.
    """

    __slots__ = ("_entered", "_make", "_subscribers")

    def __init__(
        self,
        subscribers: Sequence["Subscriber"],
        make: Callable[["Subscriber"], AbstractContextManager[None]],
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
                swallowed.swallow(subscriber.name)

    def __exit__(self, *error: Any) -> None:
        for subscriber, inner in reversed(self._entered):
            try:
                inner.__exit__(*error)
            except BaseException as raised:
                if raised is not error[1]:
                    swallowed.swallow(subscriber.name)
