"""Run, pause and resume schedules.

The command ``partisan_schedules`` and the admin call this module.
"""

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import immediate, registry
from django_partisan.config.immediate import mode as immediate_mode
from django_partisan.enqueueing import after_commit, wake_after_commit
from django_partisan.exceptions import UnknownSchedule
from django_partisan.schedules import tick_record
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.schedules.tick_record import DUPLICATE, ENQUEUED, Tick
from django_partisan.sql import scheduling as sql
from django_partisan.sql.connection import task_connection
from django_partisan.sql.control import EVERY_QUEUE, notify_control
from django_partisan.sql.scheduling import LockedSchedule
from django_partisan.sql.server_time import server_now
from django_partisan.sql.tick_inserting import insert_ticks
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.schedules import SchedulePaused, ScheduleResumed, ScheduleTicked
from django_partisan.tick_tasks import TickTasks

__all__ = ["notify_managers", "pause", "resume", "run_now"]


def run_now(name: str) -> int | None:
    """Enqueue the task of a schedule when the current transaction commits; return the task's id.

    Works while the schedule is paused, too, and does not change its ticks. ``scheduled_for`` of the task is
    now. For a duplicate, returns the id of the waiting task; returns ``None`` if ``overlap`` of the schedule
    is ``False`` and its last task waits or runs. Raises ``UnknownSchedule``, ``UnregisteredTask``, the errors
    of ``delay()``, and ``ValueError`` for a row with invalid columns, which only SQL can have written.
    """
    connection = task_connection()
    _import_task(connection, name)
    with transaction.atomic(using=connection.alias):
        locked = _lock(connection, name)
        locked.ensure_sound()
        row = locked.row
        definition = ScheduleDefinition.of_row(row)
        task = registry.find(row.task)
        if task is None:
            raise registry.unknown(row.task)
        last = row.last_task_id
        if not definition.overlap and last is not None and sql.open_tasks(connection, [last]):
            return None
        now = server_now(connection)
        tasks = TickTasks(definition, task)
        [(task_id, is_new)] = insert_ticks(connection, [tasks.of(now)])
        tick = Tick(now, ENQUEUED if is_new else DUPLICATE, task_id)
        recent = tick_record.with_ticks(row.recent_ticks, [tick])
        sql.write_run(connection, name, recent, tick_record.with_open_tick(row.open_tick, [tick]), task_id)
        event = (name, row.task, tasks.queue, now, task_id, tick.outcome, 0.0)
        after_commit(connection, lambda: bus.emit(ScheduleTicked, *event))
    wake_after_commit(connection, [tasks.queue])
    if mode := immediate_mode():
        immediate.run_after_commit(connection, [task_id], mode)
    return task_id


def pause(name: str, comment: str | None = "") -> bool:
    """Pause a schedule when the current transaction commits: from then on, no tick is enqueued.

    Return whether it was not paused before. ``comment`` is stored in either case; ``None`` keeps the stored
    comment. Raises ``UnknownSchedule``.
    """
    connection = task_connection()
    with transaction.atomic(using=connection.alias):
        is_new = sql.pause(connection, name, comment)
        if is_new is None:
            raise _unknown(name)
        if is_new:
            after_commit(connection, lambda: bus.emit(SchedulePaused, name, comment or ""))
    return is_new


def resume(name: str) -> bool:
    """End the pause of a schedule when the current transaction commits; return whether it was paused.

    Its next tick is the first one after now, by the database's clock. Raises ``UnknownSchedule``.
    """
    connection = task_connection()
    with transaction.atomic(using=connection.alias):
        row = _lock(connection, name).row
        if not row.paused:
            return False
        times = ScheduleDefinition.of_row(row).times
        next_at = times.after(server_now(connection))
        sql.resume(connection, name, next_at)
        notify_managers(connection)
        after_commit(connection, lambda: bus.emit(ScheduleResumed, name, next_at))
    return True


def notify_managers(connection: BaseDatabaseWrapper) -> None:
    """Notify all managers that schedules have changed, when the transaction of ``connection`` commits."""
    notify_control(connection, EVERY_QUEUE, "schedule")


def _import_task(connection: BaseDatabaseWrapper, name: str) -> None:
    """Import the module of a schedule's task before the row is locked, because an import may take long."""
    task = sql.task_of(connection, name)
    if task is None:
        raise _unknown(name)
    registry.find_or_import(task)


def _lock(connection: BaseDatabaseWrapper, name: str) -> LockedSchedule:
    locked = sql.lock_one(connection, name)
    if locked is None:
        raise _unknown(name)
    return locked


def _unknown(name: str) -> UnknownSchedule:
    return UnknownSchedule(f"There is no schedule {name!r}; `manage.py partisan_schedules` lists them.")
