"""The models of the library's tables. The SQL statements of the hot path are in ``django_partisan.sql``."""

from django_partisan.models.controls import CancelRequest, Chore, ManagerLease, Pause, Slot
from django_partisan.models.schedule import Schedule
from django_partisan.models.task import Task, TaskQuerySet

__all__ = ["CancelRequest", "Chore", "ManagerLease", "Pause", "Schedule", "Slot", "Task", "TaskQuerySet"]
