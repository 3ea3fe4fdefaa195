"""SQL conditions: whether a manager is alive, whether it serves its queue, whether a task has a manager."""

from typing import Final

from django_partisan.names import WORKER_ROLE

IS_ALIVE: Final = "heartbeat_at >= statement_timestamp() - lease_seconds * interval '1 second'"
"""Whether the lease of a manager's row has not expired."""
SERVES: Final = f"state ->> 'role' IS DISTINCT FROM '{WORKER_ROLE}'"
"""Whether a row belongs to a manager, which claims tasks, and not to a worker without its manager."""

TASKS_IN_PROCESS: Final = (
    "django_partisan_task AS task WHERE task.queue_name = %(queue)s AND task.status = 'in_process'"
)
"""The tasks of a queue that managers have claimed."""
HAS_NO_MANAGER: Final = (
    "NOT EXISTS (SELECT FROM django_partisan_manager AS manager WHERE manager.id = task.claimed_by)"
)
"""Whether the manager that has claimed a task has no row."""
