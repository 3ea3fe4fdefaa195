"""Every message between a manager and its workers, in both directions.

A message is a named tuple of plain values. It crosses the pipe as ``(number of its kind, *fields)``, because
marshal, which encodes the frames, accepts exact tuples only. Increase ``VERSION`` when a message changes: a
manager drains when a worker has another version. It reads the version from ``Ready``, whose first fields must
not change.
"""

from typing import Any, Final, NamedTuple, TypeAlias

from django_partisan.sql.claiming import TaskRow

VERSION: Final = 7


# From the manager to a worker.


class RunTasks(NamedTuple):
    """Run these tasks, in this order."""

    rows: list[TaskRow]
    claim_times: dict[int, float]
    """Monotonic times at which the claims of these rows returned, by claim token."""
    epoch: int = 0
    """How many times the lease had been lost when this was sent. If it is lost again, others may have the
    tasks."""


class Stop(NamedTuple):
    """Return the tasks that have not started, finish the running task, and end."""


class Interrupt(NamedTuple):
    """Interrupt a run if it has not ended."""

    run_number: int
    """The number of runs that the worker has begun, as on its page."""
    kind: str
    """``timeout`` or ``cancel``."""
    comment: str
    """The message of the exception that is raised inside the run."""


class LogStacks(NamedTuple):
    """Log the stack of each thread: the worker is about to be killed because its run has not ended."""


# From a worker to its manager.


class Ready(NamedTuple):
    """The worker has loaded its code and accepts tasks."""

    protocol: int
    warnings: list[str]
    library: str = ""
    """The version of the library; workers with protocol 2 did not send it."""


class Report(NamedTuple):
    """The runs that ended since the last report."""

    completed: list[int]
    """Ids of completed tasks whose rows are deleted."""
    kept: list[tuple[int, int, str | None]]
    """Completed tasks whose rows are kept: id, start in monotonic microseconds, result as JSON text."""
    changes: list[tuple[Any, ...]]
    """The fields of a ``RowChange`` for each run that is in none of the other lists."""
    settled: list[int]
    """Ids of tasks whose completion was committed with the run (``ATOMIC``)."""
    claims_lost: list[int]
    """Ids of tasks that another manager has taken over; nothing is settled."""
    measured: dict[str, list[Any]]
    """By processor name: a list of the number of runs and their total seconds."""
    telemetry: list[tuple[str, Any]]
    """The data collected by the subscribers, with their names."""


class Registered(NamedTuple):
    """Definitions that the worker has registered and the manager has not; sent before such a task runs."""

    definitions: list[tuple[Any, ...]]
    """The fields of a ``PlainDefinition`` for each definition."""


class Returned(NamedTuple):
    """Tasks that were recalled, or that had not started when the worker was stopped."""

    task_ids: list[int]


class Retiring(NamedTuple):
    """The worker has run its last task; it flushes its telemetry and ends."""


class Flushed(NamedTuple):
    """The last message of a worker."""

    telemetry: list[tuple[str, Any]]
    peak_bytes: int


ToWorker: TypeAlias = RunTasks | Stop | Interrupt | LogStacks
ToManager: TypeAlias = Ready | Registered | Report | Returned | Retiring | Flushed
Message: TypeAlias = ToWorker | ToManager

# New kinds go last, because a manager reads ``Ready`` from other versions.
_KINDS: Final[dict[int, Any]] = dict(
    enumerate((RunTasks, Stop, Ready, Report, Returned, Retiring, Flushed, Interrupt, LogStacks, Registered))
)
_NUMBERS: Final = {kind: number for number, kind in _KINDS.items()}


def encode(message: Message) -> tuple[Any, ...]:
    """Return a message as a plain tuple."""
    return (_NUMBERS[type(message)], *message)


def decode(values: Any) -> Message:
    """Return the message that ``encode()`` turned into ``values``; raises ``ValueError`` for other values."""
    try:
        number, *fields = values
        kind = _KINDS[number]
        if kind is Ready:  # a later version's may have more fields
            del fields[len(Ready._fields) :]
        message: Message = kind(*fields)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"an invalid message: {error}") from error
    return message
