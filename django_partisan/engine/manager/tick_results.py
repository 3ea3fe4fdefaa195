"""The results of a batch of ticks, and what is left to do."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from django_partisan.engine.manager.tick_errors import TickError
from django_partisan.schedules.due import DueTicks
from django_partisan.schedules.tick_record import Tick
from django_partisan.telemetry.events.values import ErrorInfo


class FailedSchedule(NamedTuple):
    """A schedule whose tick cannot be enqueued."""

    schedule: str
    task: str
    scheduled_for: datetime
    error: ErrorInfo
    is_new: bool
    """Whether the row had no error of this kind before, so that the error is emitted."""


class TickedSchedule(NamedTuple):
    """The outcomes of the due ticks of a schedule."""

    schedule: str
    task: str
    queue: str
    ticks: list[Tick]
    due: DueTicks
    now: datetime
    open_task: int | None
    """The task that had to end first; if it had not ended, the ticks were skipped."""


class Batch(NamedTuple):
    """The results of a batch, and what is left to do."""

    ticked: Sequence[TickedSchedule] = ()
    failed: Sequence[FailedSchedule] = ()
    halves: Sequence[list[str]] = ()
    """Names of schedules to try in smaller batches."""
    deferred: Collection[str] = ()
    """Schedules that this manager cannot enqueue."""
    to_import: Collection[str] = ()
    """Tasks whose modules must be imported first."""
    is_full: bool = False
    """Whether more rows may be due."""
    next_in: float | None = None
    """In how many seconds the next tick of a schedule that is not deferred is due."""
    refused: Mapping[str, TickError] = MappingProxyType({})
    """Errors that could not be written into the row of their schedule, by its name."""
    late_errors: Sequence[Exception] = ()
    """Errors that occurred after the commit."""
