"""Make the task of a tick from the definition of its schedule and the definition of the task."""

import json
from datetime import datetime
from typing import Any

from django_partisan import arguments
from django_partisan.config.queues import check_queue_name
from django_partisan.definitions import TaskDefinition
from django_partisan.expiry import expires_at
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.schedules.tick_record import iso_text
from django_partisan.sql.enqueueing import NewTask
from django_partisan.sql.tick_inserting import NewTick
from django_partisan.telemetry import bus
from django_partisan.telemetry.task_context import SCHEDULE, SCHEDULED_FOR


class TickTasks:
    """The tasks of one schedule; ``task`` is the definition of the task that the schedule names.

    Raises the errors of ``delay()`` if the tasks cannot be stored.
    """

    def __init__(self, schedule: ScheduleDefinition, task: TaskDefinition) -> None:
        self._schedule = schedule
        self._task = task
        self.queue = task.queue if schedule.queue_name is None else schedule.queue_name
        check_queue_name(self.queue)
        args, kwargs = tuple(schedule.args), dict(schedule.kwargs)
        self._arguments = arguments.encode(task.name, args, kwargs)
        self.key = None
        if task.unique:
            self.key = arguments.unique_key(task.name, args, kwargs, self._arguments)

    @property
    def expires_seconds(self) -> float | None:
        """How many seconds after the moment of a tick its task may start; ``None``: without a limit."""
        expires = self._schedule.expires_seconds
        return self._task.expires if expires is None else expires

    def of(self, moment: datetime) -> NewTick:
        """Return the task of the tick at ``moment``."""
        task, schedule = self._task, self._schedule
        headers: dict[str, Any] = {
            **bus.headers(),
            SCHEDULE: schedule.name,
            SCHEDULED_FOR: iso_text(moment),
        }
        priority = task.priority if schedule.priority is None else schedule.priority
        context = json.dumps(headers)
        new = NewTask(self.queue, task.name, priority, None, self._arguments, context, self.key)
        return NewTick(new, moment, expires_at(moment, self.expires_seconds))
