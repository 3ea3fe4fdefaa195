"""Enqueue the tasks of due ticks: a batch of schedules in one transaction, in the chores thread.

A row whose definition is invalid here or whose task is unknown is deferred and keeps its tick, because
another manager may be able to enqueue it. A malformed row fails. Neither affects the other rows of the batch.
If PostgreSQL refuses a task, or another transaction locks its duplicate, the transaction is rolled back and
each half of the batch is tried; a row that fails alone keeps its tick, too.
"""

import time
from collections.abc import Sequence
from typing import Final

from django.db import Error
from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import registry
from django_partisan.engine.manager.deferred_schedules import NOTHING, Deferred
from django_partisan.engine.manager.tick_errors import TickError, describe, is_of_a_row, locked_duplicate
from django_partisan.engine.manager.tick_plan import Plan
from django_partisan.engine.manager.tick_results import Batch, FailedSchedule, TickedSchedule
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.schedules.due import ENQUEUED_AT_MOST
from django_partisan.schedules.tick_record import DUPLICATE, ENQUEUED, MISSED, OVERLAP, MalformedRow, Tick
from django_partisan.sql import scheduling as sql
from django_partisan.sql.enqueueing import wake
from django_partisan.sql.own_transaction import transaction_of
from django_partisan.sql.schedule_errors import write_failed, write_fault
from django_partisan.sql.scheduling import LockedSchedule
from django_partisan.sql.tick_inserting import NewTick, insert_ticks
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.scopes import Ticking
from django_partisan.tick_tasks import TickTasks

ROWS_AT_MOST: Final = 100
PLAN_SECONDS: Final = 0.5
"""How long ticks are computed while rows are locked; after an outage there may be many."""


def make_batch(
    connection: BaseDatabaseWrapper,
    queue: str,
    deferred: Deferred = NOTHING,
    names: Sequence[str] | None = None,
) -> Batch:
    """Enqueue the tasks of due ticks, of all schedules or those in ``names``, and wake sleeping managers.

    ``queue`` is the manager's queue; ``deferred`` holds the schedules that this manager cannot enqueue.
    """
    batch = _Batch(queue, deferred)
    try:
        with transaction_of(connection):
            batch.make(connection, names)
    except Exception as error:
        if not batch.names or not is_of_a_row(error):
            raise
        if len(batch.names) > 1:
            middle = len(batch.names) // 2
            return Batch(halves=[batch.names[:middle], batch.names[middle:]])
        return batch.alone(connection, error)
    return batch.committed(connection)


class _Batch:
    """A batch that is being made, and its results so far."""

    def __init__(self, queue: str, deferred: Deferred) -> None:
        self._queue = queue
        self._known = deferred
        self.names: list[str] = []
        self.ticked: list[TickedSchedule] = []
        self.failed: list[FailedSchedule] = []
        self.deferred: set[str] = set()
        self.to_import: set[str] = set()
        self.is_full = False
        self.refused: dict[str, TickError] = {}
        self._locked: list[LockedSchedule] = []

    def make(self, connection: BaseDatabaseWrapper, names: Sequence[str] | None) -> None:
        """Lock due rows, insert the tasks, and write the rows."""
        found = sql.lock_due(connection, ROWS_AT_MOST, self._known.hidden, names)
        # Rows that failed before are tried one by one, after the others.
        fresh = [one for one in found if not one.row.failures]
        chosen = fresh or found[:1]
        self.is_full = len(found) == ROWS_AT_MOST or len(chosen) < len(found)
        plans = self._plans(connection, chosen)
        last = [plan.waits_for for plan in plans if plan.waits_for is not None]
        still_open = sql.open_tasks(connection, last)
        plans = self._without_locked(connection, plans, still_open)
        if plans:
            scope = Ticking(plans[0].tasks.queue)
            with bus.around(scope):
                scope.number = self._enqueue(connection, plans, still_open)
        sql.write_ticked(
            connection, [plan.row_values(one) for plan, one in zip(plans, self.ticked, strict=True)]
        )

    def committed(self, connection: BaseDatabaseWrapper) -> Batch:
        """Wake sleeping managers; return the batch, with any errors that occurred after the commit."""
        next_in: float | None = None
        late_errors: list[Exception] = []
        try:
            wake(connection, {one.queue for one in self.ticked})
        except Exception as error:  # sleeping managers find the tasks later by themselves
            late_errors.append(error)
        try:
            if not self.is_full:
                next_in = sql.next_in(connection, sorted({*self._known.hidden, *self.deferred}))
        except Exception as error:
            late_errors.append(error)
        return Batch(
            self.ticked,
            self.failed,
            deferred=self.deferred,
            to_import=self.to_import,
            is_full=self.is_full,
            next_in=next_in,
            refused=self.refused,
            late_errors=late_errors,
        )

    def _without_locked(
        self, connection: BaseDatabaseWrapper, plans: Sequence[Plan], still_open: set[int]
    ) -> list[Plan]:
        """Leave out plans whose waiting duplicate another transaction locks, and write that into their rows.

        So no insert waits for a lock, unless a duplicate is being inserted at this moment.
        """
        keys = {plan.tasks.key for plan in plans if plan.waits_for not in still_open}
        locked = sql.locked_keys(connection, [key for key in keys if key is not None])
        free: list[Plan] = []
        for plan in plans:
            if plan.tasks.key not in locked or plan.waits_for in still_open:
                free.append(plan)
                continue
            self._fail(connection, plan.locked, locked_duplicate())
        return free

    def _fail(self, connection: BaseDatabaseWrapper, locked: LockedSchedule, error: TickError) -> None:
        """Write into a row why its tick cannot be enqueued, in the transaction of the batch."""
        is_new = bool(write_failed(connection, locked, error.text, error.kind))
        self.failed.append(_failed(locked, error, is_new))

    def alone(self, connection: BaseDatabaseWrapper, error: Exception) -> Batch:
        """Write the error into the only row, unless another manager has enqueued its tick by now.

        If PostgreSQL refuses that, too, put the row aside, so that it does not delay others.
        """
        [locked] = self._locked
        found = describe(error)
        self.ticked, self.failed = [], []
        try:
            with transaction_of(connection):
                is_new = write_failed(connection, locked, found.text, found.kind)
        except Error as second:
            if not is_of_a_row(second):
                raise
            self.deferred.add(locked.row.name)
            self.refused[locked.row.name] = found
        else:
            self.failed = [] if is_new is None else [_failed(locked, found, is_new)]
        return self.committed(connection)

    def _plans(self, connection: BaseDatabaseWrapper, found: Sequence[LockedSchedule]) -> list[Plan]:
        """Return a plan for each row; fail or defer rows that are invalid or whose task is unknown."""
        plans: list[Plan] = []
        number, until = 0, time.monotonic() + PLAN_SECONDS
        for locked in found:
            if number >= ENQUEUED_AT_MOST or (plans and time.monotonic() > until):  # the rest stays due
                self.is_full = True
                break
            self.names.append(locked.row.name)
            self._locked.append(locked)
            try:
                plan = self._plan(locked)
            except MalformedRow as error:  # malformed for every manager
                self._fail(connection, locked, describe(error))
                continue
            except BaseException as error:  # whatever a row or module raises, the others must be on time
                self._defer(connection, locked, error)
                continue
            if plan is not None:
                plans.append(plan)
                number += len(plan.due.enqueued)
        return plans

    def _plan(self, locked: LockedSchedule) -> Plan | None:
        """Return the plan for a row; ``None`` if the module of its task must be imported first."""
        locked.ensure_sound()
        row = locked.row
        task = registry.find(row.task)
        if task is None:
            if "." in row.task and row.task not in self._known.imported:
                self.deferred.add(row.name)
                self.to_import.add(row.task)
                return None
            raise self._known.imported.get(row.task) or registry.unknown(row.task)
        definition = ScheduleDefinition.of_row(row)
        return Plan(locked, definition, TickTasks(definition, task))

    def _defer(self, connection: BaseDatabaseWrapper, locked: LockedSchedule, error: BaseException) -> None:
        """Leave the row to other managers; write the error if none has enqueued the tick for a minute."""
        self.deferred.add(locked.row.name)
        late = (locked.now - (locked.next_at or locked.now)).total_seconds()
        if locked.row.name in self._known.overdue and late >= sql.ASIDE_SECONDS:
            found = describe(error)
            if write_fault(connection, locked, found.text, found.kind):
                self.failed.append(_failed(locked, found, is_new=True))

    def _enqueue(self, connection: BaseDatabaseWrapper, plans: Sequence[Plan], still_open: set[int]) -> int:
        """Insert the tasks of all plans; return how many, duplicates included."""
        new: list[NewTick] = []
        for plan in plans:
            if plan.waits_for not in still_open:
                new += [plan.tasks.of(moment) for moment in plan.due.enqueued]
        inserted = iter(insert_ticks(connection, new))
        for plan in plans:
            ticks = [Tick(moment, MISSED) for moment in plan.due.missed]
            for moment in plan.due.enqueued:
                if plan.waits_for in still_open:
                    ticks.append(Tick(moment, OVERLAP))
                    continue
                task_id, is_new = next(inserted)
                ticks.append(Tick(moment, ENQUEUED if is_new else DUPLICATE, task_id))
            row, now = plan.locked.row, plan.locked.now
            self.ticked.append(
                TickedSchedule(row.name, row.task, plan.tasks.queue, ticks, plan.due, now, plan.waits_for)
            )
        return len(new)


def _failed(locked: LockedSchedule, error: TickError, is_new: bool) -> FailedSchedule:
    scheduled_for = locked.next_at or locked.now
    return FailedSchedule(locked.row.name, locked.row.task, scheduled_for, error.info, is_new)
