"""Tasks, managers, pauses and schedules in Django's admin: to look at, and to act on with permissions.

The table may hold millions of rows. So nothing here counts them all, sorts by a column without an
index, or queries which values a column has.
"""

from django_partisan.admin.managers import ManagerLeaseAdmin
from django_partisan.admin.pauses import PauseAdmin
from django_partisan.admin.schedules import ScheduleAdmin
from django_partisan.admin.tasks import TaskAdmin

__all__ = ["ManagerLeaseAdmin", "PauseAdmin", "ScheduleAdmin", "TaskAdmin"]
