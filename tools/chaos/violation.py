"""A broken guarantee."""

from typing import NamedTuple


class Violation(NamedTuple):
    """A broken guarantee and its task; ``key`` is `None` if it is not about a task."""

    promise: str
    text: str
    key: str | None = None
