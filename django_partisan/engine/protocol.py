"""Every message between a manager and its workers, in both directions.

A message is a named tuple of plain values. It crosses the pipe as ``(number of its kind, *fields)``,
because marshal, which writes the frames, takes exact tuples only. Raise ``VERSION`` when a message
changes: a manager drains when a worker has another version. It reads that from ``Ready``, whose first fields
must not change.
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
    """How often the lease had been lost when this was sent; after another loss, others may have the tasks."""


class Stop(NamedTuple):
    """Return the tasks that have not started, finish the running one, and end."""


class Interrupt(NamedTuple):
    """Interrupt a run, if it is still under way."""

    run_number: int
    """How many tasks the worker has begun, as its page shows."""
    kind: str
    """``timeout`` or ``cancel``."""
    comment: str
    """The message of the exception that is raised inside the run."""


class LogStacks(NamedTuple):
    """Log the stack of each thread: the worker is about to be killed, because its run has not ended."""


# From a worker to its manager.


class Ready(NamedTuple):
    """The worker has loaded its code and takes tasks."""

    protocol: int
    warnings: list[str]
    library: str = ""
    """The version of the library; workers of protocol 2 did not send it."""


class Report(NamedTuple):
    """The runs that ended since the last report."""

    completed: list[int]
    """Ids of completed tasks whose rows are deleted."""
    kept: list[tuple[int, int, str | None]]
    """Of completed tasks whose rows are kept: id, start in monotonic microseconds, result as JSON text."""
    changes: list[tuple[Any, ...]]
    """The fields of one ``RowChange`` for each run that ended otherwise."""
    settled: list[int]
    """Ids of tasks whose completion was committed with the run (``ATOMIC``)."""
    claims_lost: list[int]
    """Ids of tasks that another manager has taken over: nothing is settled."""
    measured: dict[str, list[Any]]
    """Number of runs and their seconds in total, as a list of both, by processor name."""
    telemetry: list[tuple[str, Any]]
    """What the subscribers counted, by subscriber name."""


class Returned(NamedTuple):
    """Tasks that were recalled, or not started before a stop."""

    task_ids: list[int]


class Retiring(NamedTuple):
    """The worker has run its last task; it flushes its telemetry and ends."""


class Flushed(NamedTuple):
    """The last message of a worker."""

    telemetry: list[tuple[str, Any]]
    peak_bytes: int


ToWorker: TypeAlias = RunTasks | Stop | Interrupt | LogStacks
ToManager: TypeAlias = Ready | Report | Returned | Retiring | Flushed
Message: TypeAlias = ToWorker | ToManager

# A new kind comes last: a manager reads ``Ready`` of other versions.
_KINDS: Final[dict[int, Any]] = dict(
    enumerate((RunTasks, Stop, Ready, Report, Returned, Retiring, Flushed, Interrupt, LogStacks))
)
_NUMBERS: Final = {kind: number for number, kind in _KINDS.items()}


def encode(message: Message) -> tuple[Any, ...]:
    """Return a message as a plain tuple."""
    return (_NUMBERS[type(message)], *message)


def decode(values: Any) -> Message:
    """Return the message that ``encode()`` made into ``values``; raises ``ValueError`` if it is none."""
    try:
        number, *fields = values
        kind = _KINDS[number]
        if kind is Ready:  # that of a later version may have more fields
            del fields[len(Ready._fields) :]
        message: Message = kind(*fields)
    except (TypeError, ValueError, KeyError) as error:
        raise ValueError(f"a message of no known kind: {error}") from error
    return message
