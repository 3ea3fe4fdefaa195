"""The task that runs in this context: noted for each run, and read only where a line or an event names it."""

from contextvars import ContextVar
from typing import Final, Protocol


class RunningTask(Protocol):
    """What names a run; the core passes what it has anyway."""

    @property
    def id(self) -> int: ...

    @property
    def processor(self) -> str: ...

    @property
    def queue(self) -> str: ...

    @property
    def attempt(self) -> int: ...


running: Final[ContextVar[RunningTask | None]] = ContextVar("partisan_running", default=None)
"""The run of this context. It is set in the copy of the context that a run has, and ends with it."""
