"""Have a worker report at once what a subscriber should not keep until the end of a run.

Subscribers do not know the worker; it says how it reports, for as long as it runs tasks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

_reports: Final[list[Callable[[], None]]] = []


@contextmanager
def reporting(report: Callable[[], None]) -> Iterator[None]:
    """Have ``report`` called at each ``report_now()``, by any thread, for the length of a ``with``."""
    _reports.append(report)
    try:
        yield
    finally:
        stop(report)


def stop(report: Callable[[], None]) -> None:
    """Call ``report`` no more, as in a process that a task has forked."""
    with suppress(ValueError):
        _reports.remove(report)


def report_now() -> None:
    """Have this worker report; does nothing in other processes."""
    for report in tuple(_reports):
        report()
