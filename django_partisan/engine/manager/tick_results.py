"""What a batch of ticks did, and what is left."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from django_partisan.engine.manager.tick_errors import TickError
from django_partisan.schedules.book import Tick
from django_partisan.schedules.due import Due
from django_partisan.telemetry.events.values import ErrorInfo


class FailedSchedule(NamedTuple):
    """A schedule whose tick cannot be enqueued."""

    schedule: str
    task: str
    scheduled_for: datetime
    error: ErrorInfo
    is_new: bool
    """Whether its row had another error before."""


class Ticked(NamedTuple):
    """What became of the due ticks of a schedule."""

    schedule: str
    task: str
    queue: str
    ticks: list[Tick]
    due: Due
    now: datetime
    open_task: int | None
    """The task for which its ticks were skipped, if they were."""


class Batch(NamedTuple):
    """What a batch did, and what is left."""

    ticked: Sequence[Ticked] = ()
    failed: Sequence[FailedSchedule] = ()
    halves: Sequence[list[str]] = ()
    """Names of schedules to be tried in smaller batches."""
    aside: Collection[str] = ()
    """Schedules that this manager cannot enqueue."""
    to_import: Collection[str] = ()
    """Tasks whose modules are to be imported."""
    is_full: bool = False
    """Whether more rows may be due."""
    next_in: float | None = None
    """In how many seconds the next tick is due of those that are not put aside."""
    refused: Mapping[str, TickError] = MappingProxyType({})
    """Errors that cannot even be written into the row of their schedule, by its name."""
    late_errors: Sequence[Exception] = ()
    """What went wrong after the commit."""
