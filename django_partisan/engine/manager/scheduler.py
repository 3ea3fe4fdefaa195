"""Enqueue the tasks of schedules when their ticks are due, also while the manager drains.

The database server's clock decides what is due and in how many seconds the next tick is. The manager waits
that long by a monotonic clock, so the wall clock of its host does not matter. Each heartbeat also returns
these seconds, so a schedule changed in the database is noticed at the next heartbeat, or, with a
notification, at once.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final
from uuid import UUID

from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.deferred_schedules import DeferredSchedules
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.schedule_failures import ScheduleFailures
from django_partisan.engine.manager.task_imports import Imported, TaskImports
from django_partisan.engine.manager.tick_batch import make_batch
from django_partisan.engine.manager.tick_results import Batch, FailedSchedule, TickedSchedule
from django_partisan.outcomes import OPERATION_ENQUEUE
from django_partisan.schedules.tick_record import DUPLICATE, ENQUEUED, OVERLAP
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.schedules import (
    ScheduleFailed,
    ScheduleMissed,
    ScheduleSkipped,
    ScheduleTicked,
)

RETRY_SECONDS: Final = 1.0
"""The pause before locked due rows are tried again, and after an error that followed a commit."""


class Scheduler(Component):
    """The component that enqueues the tasks of due ticks.

    ``identity`` returns the manager's id while it may claim, else ``None``. ``enqueued`` is called with the
    queues of new tasks.
    """

    def __init__(
        self,
        queue: str,
        thread: DatabaseThread,
        outage: Outage,
        identity: Callable[[], UUID | None],
        enqueued: Callable[[set[str]], None],
    ) -> None:
        self._queue = queue
        self._thread = thread
        self._outage = outage
        self._identity = identity
        self._enqueued = enqueued
        self._due_at = NEVER
        self._halves: deque[list[str]] = deque()
        self._deferred = DeferredSchedules()
        self._imports = TaskImports(thread.deliver, self._on_imported)
        self._failures = ScheduleFailures(queue, OPERATION_ENQUEUE)

    def turn(self, now: float) -> None:
        """Enqueue the tasks of due ticks."""
        if now < self.next_at():
            return
        deferred = self._deferred.for_next_batch(now)
        names = self._halves.popleft() if self._halves else None
        self._due_at = NEVER
        make = partial(make_batch, queue=self._queue, deferred=deferred, names=names)
        self._thread.submit(make, self._on_made)

    def next_at(self) -> float:
        """Return the monotonic time at which the next tick is due."""
        if self._thread.is_busy or self._identity() is None:
            return NEVER
        due_at = 0.0 if self._halves else min(self._due_at, self._deferred.forget_at)
        return NEVER if due_at == NEVER else max(due_at, self._outage.retry_at, self._failures.retry_at)

    def read_now(self) -> None:
        """Look for due ticks in the next turn, because schedules were changed."""
        self._deferred.retry_all()
        self._due_at = 0.0

    def on_heartbeat(self, next_in: float | None) -> None:
        """Record in how many seconds the next tick is due; a batch under way may correct this."""
        if next_in is not None:
            self._due_at = min(self._due_at, time.monotonic() + max(next_in, 0.0))

    def _on_made(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._halves.clear()
            self._due_at = 0.0
            self._failures.fail(result)
            return
        batch: Batch = result
        self._note(batch)
        self._halves.extendleft(reversed(batch.halves))
        self._deferred.end(one.schedule for one in batch.ticked)
        self._deferred.defer(batch.deferred)
        self._imports.request(batch.to_import)
        if batch.is_full or self._halves:
            self._expect(0.0)
        elif batch.next_in is not None:
            has_done = batch.ticked or batch.failed
            self._expect(max(batch.next_in, 0.0 if has_done or batch.next_in > 0 else RETRY_SECONDS))
        self._emit(batch.ticked, batch.failed)
        self._enqueued({one.queue for one in batch.ticked})

    def _note(self, batch: Batch) -> None:
        for error in batch.late_errors:
            self._failures.report(error)
            self._expect(RETRY_SECONDS)
        if batch.refused:
            self._failures.leave_out(batch.refused)
        else:
            self._failures.end()

    def _on_imported(self, imported: Imported) -> None:
        self._deferred.note_imported(imported)
        self._due_at = 0.0

    def _expect(self, seconds: float) -> None:
        self._due_at = min(self._due_at, time.monotonic() + seconds)

    def _emit(self, ticked: Iterable[TickedSchedule], failed: Iterable[FailedSchedule]) -> None:
        for one in ticked:
            _emit_ticks(one)
        for schedule, task, scheduled_for, error, is_new in failed:
            if is_new:
                bus.emit(ScheduleFailed, schedule, task, scheduled_for, error)


def _emit_ticks(one: TickedSchedule) -> None:
    if one.due.missed_number:
        newest = one.due.missed[-1]
        bus.emit(ScheduleMissed, one.schedule, one.task, one.due.missed_number, newest)
    for tick in one.ticks:
        if tick.outcome in (ENQUEUED, DUPLICATE) and tick.task is not None:
            late = (one.now - tick.at).total_seconds()
            bus.emit(
                ScheduleTicked, one.schedule, one.task, one.queue, tick.at, tick.task, tick.outcome, late
            )
        elif tick.outcome == OVERLAP and one.open_task is not None:
            bus.emit(ScheduleSkipped, one.schedule, one.task, one.queue, tick.at, one.open_task)
