"""Plan what a batch does for one schedule, and compute what is then written into its row."""

from collections import Counter
from typing import Any

from django_partisan.engine.manager.tick_results import TickedSchedule
from django_partisan.schedules import tick_record
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.schedules.due import due
from django_partisan.schedules.tick_record import MISSED
from django_partisan.sql.scheduling import LockedSchedule
from django_partisan.tick_tasks import TickTasks


class Plan:
    """The due ticks of one schedule, and the tasks to insert for them."""

    def __init__(self, locked: LockedSchedule, definition: ScheduleDefinition, tasks: TickTasks) -> None:
        assert locked.next_at is not None
        self.locked = locked
        self.definition = definition
        self.tasks = tasks
        self.due = due(definition, locked.next_at, locked.now, tasks.expires_seconds)

    @property
    def waits_for(self) -> int | None:
        """The id of the task that prevents further ones while it waits or runs; ``None`` if there is none."""
        return None if self.definition.overlap else self.locked.row.last_task_id

    def row_values(self, ticked: TickedSchedule) -> dict[str, Any]:
        """Return the values to write into the schedule's row."""
        row, ticks, due_ = self.locked.row, ticked.ticks, ticked.due
        numbers = Counter(tick.outcome for tick in ticks)
        numbers[MISSED] = due_.missed_number
        with_task = [tick for tick in ticks if tick.task is not None]
        lateness = row.lateness_seconds
        if with_task:
            lateness = (ticked.now - with_task[-1].at).total_seconds()
        last_at = due_.newest or row.last_at
        return {
            "name": row.name,
            "next_at": None if due_.next_at is None else tick_record.iso_text(due_.next_at),
            "last_at": None if last_at is None else tick_record.iso_text(last_at),
            "lateness_seconds": lateness,
            "recent_ticks": tick_record.with_ticks(row.recent_ticks, ticks),
            "totals": tick_record.with_totals(row.totals, numbers),
            "open_tick": tick_record.with_open_tick(row.open_tick, ticks),
            "last_task_id": with_task[-1].task if with_task else row.last_task_id,
        }
