"""What a function gets as its first argument if it takes the context of its task."""

from dataclasses import dataclass
from datetime import datetime

from django_partisan.functions.framework import base


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext(base.TaskContext):  # type: ignore[misc, type-arg]  # the stub is not frozen
    """The framework's context, and the tick of the schedule that enqueued the task."""

    scheduled_for: datetime | None = None
    """The moment of the tick, in UTC; ``None`` if no schedule enqueued the task."""
