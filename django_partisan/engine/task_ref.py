"""Build the values that name a task, or a lost run, in the events that a manager emits."""

import time

from django_partisan.sql.claiming import (
    ATTEMPTS,
    CONTEXT,
    ID,
    POSTPONES,
    PRIORITY,
    PROCESSOR,
    RETRIES,
    WAIT,
    TaskRow,
)
from django_partisan.telemetry import task_context
from django_partisan.telemetry.events.values import LostRun, TaskRef


def task_ref(row: TaskRow, queue: str) -> TaskRef:
    """Return the reference of a claimed task; its attempt is the current one."""
    return TaskRef(
        row[ID],
        row[PROCESSOR],
        queue,
        row[PRIORITY],
        row[ATTEMPTS] + 1,
        row[RETRIES],
        row[POSTPONES],
        task_context.decoded(row[CONTEXT]),
    )


def lost_run(row: TaskRow, slot: int, generation: int, began: float, claimed: float | None) -> LostRun:
    """Return a run that ends now because its worker died; ``began`` and ``claimed`` are monotonic times."""
    now = time.time()
    waited = max(0.0, row[WAIT] + began - (began if claimed is None else claimed))
    return LostRun(now - (time.monotonic() - began), now, slot, generation, waited)


def lost_elsewhere(seconds: float | None) -> LostRun | None:
    """Return a run in another manager's worker that began ``seconds`` ago; ``None`` if none had begun."""
    now = time.time()
    return None if seconds is None else LostRun(now - seconds, now)
