"""Conditions on rows: which managers are alive, which serve a queue, which tasks no manager holds."""

from typing import Final

from django_partisan.names import WORKER_ROLE

IS_ALIVE: Final = "heartbeat_at >= statement_timestamp() - lease_seconds * interval '1 second'"
"""Whether the lease of a row of the managers has not expired."""
SERVES: Final = f"state ->> 'role' IS DISTINCT FROM '{WORKER_ROLE}'"
"""Whether a row of the managers is that of a manager, which claims tasks, and not of a worker without one."""

TASKS_IN_PROCESS: Final = (
    "django_partisan_task AS task WHERE task.queue_name = %(queue)s AND task.status = 'in_process'"
)
"""The tasks of a queue that managers have claimed."""
HAS_NO_MANAGER: Final = (
    "NOT EXISTS (SELECT FROM django_partisan_manager AS manager WHERE manager.id = task.claimed_by)"
)
"""Whether no row exists of the manager that has claimed a task."""
