"""Let subscribers make their worker report immediately what cannot wait until the end of a run.

Subscribers do not have access to the worker; it registers its report function while it runs tasks.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

_reports: Final[set[Callable[[], None]]] = set()


@contextmanager
def reporting(report: Callable[[], None]) -> Iterator[None]:
    """Call ``report`` for each ``report_now()`` in any thread, while this context manager is active."""
    _reports.add(report)
    try:
        yield
    finally:
        stop(report)


def stop(report: Callable[[], None]) -> None:
    """Stop calling ``report``, for example in a process that a task has forked."""
    _reports.discard(report)


def report_now() -> None:
    """Make this worker report; does nothing in other processes."""
    for report in tuple(_reports):
        report()
