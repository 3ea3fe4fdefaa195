"""Make the task of a tick from the definition of its schedule, and of the task that it names."""

import json
from datetime import datetime, timedelta
from typing import Any

from django_partisan import arguments, registry
from django_partisan.config.queues import check_queue_name
from django_partisan.definitions import TaskDefinition
from django_partisan.schedules.book import text_of
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.sql.scheduling import NewTick
from django_partisan.telemetry import bus
from django_partisan.telemetry.task_context import SCHEDULE, SCHEDULED_FOR


class TickTasks:
    """The tasks of one schedule: raises what ``delay()`` would if they cannot be stored.

    ``task`` is the definition of the task that the schedule names.
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
        """For how long after its moment the task of a tick may start; ``None`` for ever."""
        expires = self._schedule.expires_seconds
        return self._task.expires if expires is None else expires

    def of(self, moment: datetime) -> NewTick:
        """Return the task of the tick at ``moment``."""
        task, schedule, expires = self._task, self._schedule, self.expires_seconds
        headers: dict[str, Any] = {
            **bus.headers(),
            SCHEDULE: schedule.name,
            SCHEDULED_FOR: text_of(moment),
        }
        return NewTick(
            self.queue,
            task.name,
            task.priority if schedule.priority is None else schedule.priority,
            self._arguments,
            json.dumps(headers),
            self.key,
            moment,
            None if expires is None else moment + timedelta(seconds=expires),
        )


def find_task(name: str) -> TaskDefinition | None:
    """Return the definition of a task, whose module is imported if its name is the path of a function."""
    return registry.find_or_import(name)
