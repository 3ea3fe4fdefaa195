"""Events of worker processes, and of runs in them that a manager ends."""

from typing import NamedTuple

from django_partisan.telemetry.events.values import ErrorInfo, TaskRef


class WorkerStarted(NamedTuple):
    queue: str
    slot: int
    generation: int
    pid: int


class WorkerStartFailed(NamedTuple):
    """A worker process could not be started; its slot tries again after increasing pauses."""

    queue: str
    slot: int
    error: ErrorInfo


class WorkerReady(NamedTuple):
    queue: str
    slot: int
    generation: int
    pid: int
    warnings: tuple[str, ...]


class WorkerExited(NamedTuple):
    queue: str
    slot: int
    generation: int
    pid: int
    exit_code: int | None
    signal: str | None
    reason: str
    task: TaskRef | None
    peak_resident_bytes: int | None


class WorkerStopping(NamedTuple):
    """A worker has run its last task and will end."""

    queue: str
    slot: int
    generation: int


class ExitTimedOut(NamedTuple):
    """Receivers of ``worker_stopping`` or exit handlers did not return; the worker ends without them."""

    queue: str
    seconds: float


class RunInterrupted(NamedTuple):
    """A worker was asked to interrupt a run that has lasted ``seconds``; ``reason`` is the reason."""

    task: TaskRef
    slot: int
    generation: int
    pid: int
    reason: str
    seconds: float
    comment: str


class WorkerKilled(NamedTuple):
    """A worker was killed because an interrupted run had not ended after ``INTERRUPT_GRACE_SECONDS``."""

    task: TaskRef
    slot: int
    generation: int
    pid: int
    reason: str
    seconds: float
