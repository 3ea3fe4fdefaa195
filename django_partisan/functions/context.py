"""The context that is passed as the first argument to a function with ``takes_context=True``."""

from dataclasses import dataclass
from datetime import datetime

from django_partisan.functions.framework import base


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext(base.TaskContext):  # type: ignore[misc, type-arg]  # the stub is not frozen
    """The framework's task context, extended by the tick of the schedule that enqueued the task."""

    scheduled_for: datetime | None = None
    """The time of the tick, in UTC; ``None`` if no schedule enqueued the task."""
