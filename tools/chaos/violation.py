"""A broken promise."""

from typing import NamedTuple


class Violation(NamedTuple):
    """Which promise was broken, and by which task; ``key`` is `None` where it was not a task."""

    promise: str
    text: str
    key: str | None = None
