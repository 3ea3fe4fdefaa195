"""All events that the core emits, about tasks, runs, queues, schedules, processes and telemetry itself.

Events are immutable, contain plain values, and are named in the past tense. Durations are in seconds. They
are named tuples rather than dataclasses because they are created for every task, at a third of the cost. To
add an event, add a class to the module of its subject and a name to the union at the end of that module.
"""

from typing import TypeAlias

from django_partisan.telemetry.events.managers import ManagerEvent
from django_partisan.telemetry.events.operators import OperatorEvent
from django_partisan.telemetry.events.queues import QueueEvent
from django_partisan.telemetry.events.runs import RunEvent
from django_partisan.telemetry.events.schedules import ScheduleEvent
from django_partisan.telemetry.events.tasks import TaskEvent
from django_partisan.telemetry.events.telemetry import TelemetryEvent
from django_partisan.telemetry.events.workers import WorkerEvent

Event: TypeAlias = (
    TaskEvent
    | RunEvent
    | QueueEvent
    | OperatorEvent
    | ScheduleEvent
    | WorkerEvent
    | ManagerEvent
    | TelemetryEvent
)
