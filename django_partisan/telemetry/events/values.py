"""Plain values that describe tasks, runs and errors in events."""

import traceback
from collections.abc import Mapping
from typing import NamedTuple


class TaskRef(NamedTuple):
    """The key values of a task's row at the time of the event; ``attempt`` counts runs from 1.

    ``headers`` are those in the row; only events that a manager emits about a single task have them.
    """

    id: int
    processor: str
    queue: str
    priority: int
    attempt: int
    retries: int
    postpones: int
    headers: Mapping[str, str] | None = None


class Run(NamedTuple):
    """One run of a task: the task, the worker that runs it, and how long it was due before it started."""

    id: int
    processor: str
    queue: str
    priority: int
    attempt: int
    retries: int
    postpones: int
    slot: int
    generation: int
    wait_seconds: float
    headers: Mapping[str, str] | None
    arguments: str | None = None
    """The arguments as stored JSON text; shown only if ``LOG_TASK_ARGS`` is set."""


class LostRun(NamedTuple):
    """The data that a manager has about a run that ended with its worker; ``*_at`` are Unix timestamps.

    If the worker belonged to another manager, ``began_at`` is the time when the run began according to the
    task's row or, if the row does not have it, when the task was claimed; the other values are unknown.
    """

    began_at: float
    ended_at: float
    slot: int | None = None
    generation: int | None = None
    wait_seconds: float | None = None


class ErrorInfo(NamedTuple):
    """The description of an exception: qualified class name, message and traceback.

    Lone surrogates, which no log, collector or database could accept, are replaced with ``?``. ``exception``
    is for the project's handlers, such as error trackers. It refers to the frames of the run, so it is not
    kept.
    """

    type: str
    message: str
    stack_trace: str
    exception: BaseException | None = None

    @classmethod
    def of(cls, error: BaseException) -> "ErrorInfo":
        """Describe ``error``; if its own ``__str__`` or traceback fails, use its class only."""
        kind = type(error)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        try:
            text, trace = str(error), "".join(traceback.format_exception(error))
            return cls(name, whole(text), whole(trace), error)
        except Exception as second:
            return cls(name, f"<no message: {type(second).__name__} raised by its __str__>", "", error)


def whole(text: str) -> str:
    """Return ``text`` with each lone surrogate replaced by ``?``."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
