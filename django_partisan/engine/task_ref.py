"""How the manager names a task in the events that it emits."""

from django_partisan.sql.claiming import ATTEMPTS, ID, POSTPONES, PRIORITY, PROCESSOR, RETRIES, TaskRow
from django_partisan.telemetry.events import TaskRef


def task_ref(row: TaskRow, queue: str) -> TaskRef:
    """Return the name of a claimed task; its attempt is the one under way."""
    return TaskRef(
        row[ID], row[PROCESSOR], queue, row[PRIORITY], row[ATTEMPTS] + 1, row[RETRIES], row[POSTPONES]
    )
