"""The task that runs in this context: set for each run, and read only by lines and events that name it."""

from contextvars import ContextVar
from typing import Any, Final

running: Final[ContextVar[Any]] = ContextVar("partisan_running", default=None)
"""The run of this context, an object with ``id``, ``processor``, ``queue`` and ``attempt``, or ``None``.

The core sets an object that it has anyway, in the run's copy of the context; a run costs nothing more.
"""
