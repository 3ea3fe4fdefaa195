"""The task that runs in this context: noted for each run, and read only where a line or an event names it."""

from contextvars import ContextVar
from typing import Any, Final

running: Final[ContextVar[Any]] = ContextVar("partisan_running", default=None)
"""The run of this context, an object with ``id``, ``processor``, ``queue`` and ``attempt``, or ``None``.

The core sets what it has anyway, in the copy of the context that a run has; nothing else is made for a run.
"""
