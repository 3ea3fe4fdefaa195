"""Django's admin for tasks, managers, pauses and schedules: view them and, with permissions, act on them.

The task table may have millions of rows. So nothing here counts them all, sorts by a column without an
index, or queries which values a column has.
"""

from django_partisan.admin.managers import ManagerLeaseAdmin
from django_partisan.admin.pauses import PauseAdmin
from django_partisan.admin.schedules import ScheduleAdmin
from django_partisan.admin.tasks import TaskAdmin

__all__ = ["ManagerLeaseAdmin", "PauseAdmin", "ScheduleAdmin", "TaskAdmin"]
