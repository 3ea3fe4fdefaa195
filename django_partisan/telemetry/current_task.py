"""The task of the current context; set for each run, read only by log lines and events that name it."""

from contextvars import ContextVar
from typing import Any, Final

running: Final[ContextVar[Any]] = ContextVar("partisan_running", default=None)
"""The run in this context, an object with ``id``, ``processor``, ``queue`` and ``attempt``, or ``None``.

The core sets an object that it has anyway, in the run's copy of the context, so this adds no cost to a run.
"""
