"""Events of schedules and their ticks."""

from datetime import datetime
from typing import NamedTuple

from django_partisan.telemetry.events.values import ErrorInfo


class ScheduleTicked(NamedTuple):
    """A schedule enqueued ``task_id`` or found it as a duplicate; ``outcome`` says which."""

    schedule: str
    processor: str
    queue: str
    scheduled_for: datetime
    task_id: int
    outcome: str
    lateness_seconds: float


class ScheduleSkipped(NamedTuple):
    """A tick was skipped because the last task of the schedule, ``task_id``, is still waiting or running."""

    schedule: str
    processor: str
    queue: str
    scheduled_for: datetime
    task_id: int


class ScheduleMissed(NamedTuple):
    """``number`` ticks, up to the one at ``newest_at``, were not enqueued because they were too late."""

    schedule: str
    processor: str
    number: int
    newest_at: datetime


class ScheduleFailed(NamedTuple):
    """The tick of a schedule cannot be enqueued; emitted once for each error, not for each attempt."""

    schedule: str
    processor: str
    scheduled_for: datetime
    error: ErrorInfo


class ScheduleOperationFailed(NamedTuple):
    """An operation on one or all schedules failed in a manager of ``queue``, which tries again.

    Emitted once for each error, not for each attempt. ``operation`` is one of
    ``outcomes.SCHEDULE_OPERATIONS``; ``schedule`` is ``None`` for an operation on all.
    """

    queue: str
    operation: str
    schedule: str | None
    error: ErrorInfo


class ScheduleChanged(NamedTuple):
    """A schedule was written; ``change`` is one of ``outcomes.SCHEDULE_CHANGES``."""

    schedule: str
    processor: str
    origin: str
    change: str
    next_at: datetime | None


class SchedulePaused(NamedTuple):
    schedule: str
    comment: str


class ScheduleResumed(NamedTuple):
    schedule: str
    next_at: datetime | None
