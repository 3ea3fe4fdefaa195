"""What events say about tasks, runs and errors: plain values, as several events have them."""

import traceback
from collections.abc import Mapping
from typing import NamedTuple


class TaskRef(NamedTuple):
    """The key numbers of a task's row at this moment. ``attempt`` counts runs from 1.

    ``headers`` are those in the row; only events that a manager emits about one task have them.
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
    """The stored JSON text; shown nowhere unless ``LOG_TASK_ARGS`` asks for it."""


class LostRun(NamedTuple):
    """What a manager knows of a run that ended with its worker; ``*_at`` are Unix timestamps.

    If the worker was another manager's, ``began_at`` is when its row says that the run began or, if the
    row does not, when the task was claimed; the rest is not known.
    """

    began_at: float
    ended_at: float
    slot: int | None = None
    generation: int | None = None
    wait_seconds: float | None = None


class ErrorInfo(NamedTuple):
    """Describe an exception by its qualified class name, its message and its traceback.

    Lone surrogates, which no log, collector or database could take, are replaced by ``?``. ``exception`` is
    for handlers of the host, such as error trackers; it refers to the frames of the run, so it is not kept.
    """

    type: str
    message: str
    stack_trace: str
    exception: BaseException | None = None

    @classmethod
    def of(cls, error: BaseException) -> "ErrorInfo":
        """Describe ``error``; an error that cannot even describe itself is described by its class."""
        kind = type(error)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        try:
            text, trace = str(error), "".join(traceback.format_exception(error))
            return cls(name, _whole(text), _whole(trace), error)
        except Exception as second:
            return cls(name, f"<no message: {type(second).__name__} raised by its __str__>", "", error)


def _whole(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
