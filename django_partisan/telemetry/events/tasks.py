"""Events of single tasks before and after their runs, in applications, workers and managers."""

from datetime import datetime
from typing import NamedTuple

from django_partisan.telemetry.events.values import ErrorInfo, LostRun, TaskRef


class TaskEnqueued(NamedTuple):
    """A task was enqueued; ``in_bulk`` is true if by ``bulk_delay()``, which also emits ``TasksEnqueued``."""

    task: TaskRef
    due_at: datetime
    scheduled: bool
    arguments: str | None = None
    in_bulk: bool = False


class TaskDeduplicated(NamedTuple):
    task: TaskRef
    in_bulk: bool = False


class TaskEnqueueFailed(NamedTuple):
    queue: str
    processor: str
    priority: int | None
    error: ErrorInfo


class TaskClaimLost(NamedTuple):
    task: TaskRef


class TaskRescued(NamedTuple):
    """A task will run again; ``lost`` is its run, if the run is known to have begun."""

    task: TaskRef
    reason: str
    previous_manager: str | None
    lost: LostRun | None = None


class TaskExpired(NamedTuple):
    """A task ended without a run because it expired before it started."""

    task: TaskRef
