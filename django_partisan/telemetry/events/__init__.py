"""Every event that the core emits: of tasks and runs, queues, schedules, processes, and of telemetry itself.

Events are frozen, hold plain values, and are named in the past tense. Durations are in seconds.
Named tuples rather than dataclasses: they are made for every task, and cost a third.
A new event is a class in the module of its subject and a name in the union at that module's end.
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
