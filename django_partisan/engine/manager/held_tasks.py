"""Resume held tasks, try or fail them, or leave them to managers that have registered their processor.

Each query publishes the processors that this manager can run, and reads which processors have held tasks and
whether other live managers can run these:

- Tasks of a processor that this manager can run are resumed, in batches.
- Of a processor that no manager can run, one task is tried again every ``TRY_SECONDS``.
- Tasks of a processor that no manager can run fail after ``UNREGISTERED_GRACE_SECONDS``, or end as expired.
- Tasks of a processor that only other managers can run are left to them, and no longer claimed here.
"""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db.backends.base.base import BaseDatabaseWrapper

from django_partisan import registry
from django_partisan.config.queues import QueueConfig
from django_partisan.engine import expiring
from django_partisan.engine.manager.batch_limit import BatchLimit
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.known_processors import KnownProcessors
from django_partisan.engine.manager.outage import Outage
from django_partisan.outcomes import REASON_UNREGISTERED
from django_partisan.sql import holding
from django_partisan.sql.holding import FailedTask, HeldProcessor
from django_partisan.sql.session import answer_seconds
from django_partisan.telemetry import bus, task_context
from django_partisan.telemetry.events.queues import TasksHeld, TasksResumed
from django_partisan.telemetry.events.runs import TaskFailed
from django_partisan.telemetry.events.tasks import TaskExpired
from django_partisan.telemetry.events.values import ErrorInfo, TaskRef

ROWS_AT_MOST: Final = 1000
EMIT_SECONDS: Final = 60.0
"""Minimum seconds between two ``TasksHeld`` events of a processor."""


class HeldTasksFound(NamedTuple):
    """The result of a query: processors with held tasks, or that are unknown here, and ended tasks."""

    found: list[HeldProcessor]
    failed: list[FailedTask]


class HeldTasks(Component):
    """The component that resumes held tasks, tries them, or fails them.

    It queries them at once when the known processors or the manager's id change, and when there may be more
    tasks to fail. Otherwise, it queries them at most as often as heartbeats are sent: after a heartbeat that
    found held tasks, after a failed call, and while there are unknown processors, because only a query finds
    out whether other managers can run these.

    ``identity`` returns the manager's id while it may claim, else ``None``; ``resumed`` is called when held
    tasks can be claimed again.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        outage: Outage,
        processors: KnownProcessors,
        identity: Callable[[], UUID | None],
        resumed: Callable[[], None],
    ) -> None:
        self._config = config
        self._thread = thread
        self._outage = outage
        self._processors = processors
        self._identity = identity
        self._resumed = resumed
        self._limit = BatchLimit(ROWS_AT_MOST)
        self._may_fail_at = time.monotonic() + config.lease_seconds
        """Monotonic time before which no task fails: managers with other code may be starting too."""
        self._query_at = 0.0
        """Monotonic time of the next query; ``NEVER`` while there is no reason for one."""
        self._queried_at = 0.0
        self._began_at = 0.0
        self._published: tuple[UUID, int] | None = None
        """Id of the manager's row that was written last, and version of the known processors in it."""
        self._resuming: Counter[str] = Counter()
        """Processors whose tasks are being resumed, with the number resumed so far."""
        self._trying: list[str] = []
        """Unknown processors of which one task will be tried again."""
        self._emitted_at: dict[str, float] = {}
        self.failed = 0
        """Number of tasks that this component has failed."""

    @property
    def is_idle(self) -> bool:
        """True if all tasks that can run or be tried here, according to the last query, have been resumed."""
        return self.is_stopped or (self._is_up_to_date(self._identity()) and not self._thread.is_busy)

    def _is_up_to_date(self, manager: UUID | None) -> bool:
        if self._resuming or self._trying:
            return False
        return self._published == (manager, self._processors.version)

    def on_heartbeat(self, has_held: bool) -> None:
        """Query held tasks if the heartbeat found any."""
        if has_held:
            self._query_again()

    def turn(self, now: float) -> None:
        """Resume tasks that can run here; query held tasks if it is time."""
        if self._processors.not_emitted:
            self._emit_held(now)
        manager = self._identity()
        if now < self._query_at and self._is_up_to_date(manager):
            return
        if self.is_stopped or manager is None or self._thread.is_busy or now < self._outage.retry_at:
            return
        self._began_at = now
        if self._resuming:
            self._resume(next(iter(self._resuming)))
        elif self._trying:
            self._try(self._trying.pop())
        else:
            self._query(now, manager)

    def next_at(self) -> float:
        """Return the monotonic time of the next call."""
        if self.is_stopped or self._thread.is_busy:
            return NEVER
        manager = self._identity()
        if manager is None:
            return NEVER
        return max(self._query_at if self._is_up_to_date(manager) else 0.0, self._outage.retry_at)

    def stop(self) -> None:
        """Publish that this manager drains and can run no processor, unless that would delay its stop."""
        super().stop()
        manager = self._identity()
        if manager is not None and not self._thread.is_busy and not self._outage.is_on:
            publish = partial(holding.publish_draining, manager=manager)
            self._thread.submit(publish, lambda result: None)

    def _emit_held(self, now: float) -> None:
        for name, number in list(self._processors.not_emitted.items()):
            if self.is_stopped or now >= self._emitted_at.get(name, -NEVER) + EMIT_SECONDS:
                self._emitted_at[name] = now
                del self._processors.not_emitted[name]
                bus.emit(TasksHeld, self._config.queue, name, number, REASON_UNREGISTERED)

    def _query(self, now: float, manager: UUID) -> None:
        self._queried_at, self._query_at = now, NEVER
        publishes = manager, self._processors.version
        limit = self._limit.rows
        call = partial(
            _query,
            queue=self._config.queue,
            manager=manager,
            publish=None if self._published == publishes else frozenset(self._processors.known),
            unknown=list(self._processors.unknown),
            grace_seconds=None if now < self._may_fail_at else self._config.unregistered_grace_seconds,
            limit=limit,
        )
        self._thread.submit(call, partial(self._on_found, now, publishes, limit))

    def _query_again(self) -> None:
        """Query held tasks a third of ``LEASE_SECONDS`` after the last query."""
        self._query_at = min(self._query_at, self._queried_at + self._config.lease_seconds / 3)

    def _on_found(self, now: float, published: tuple[UUID, int], limit: int, result: Any) -> None:
        if not self._is_answer(result, limit):
            return
        found: HeldTasksFound = result
        self._published = published
        for failed in found.failed:
            self._emit_ended(failed)
        if len(found.failed) >= limit:
            self._query_at = now
        self._processors.note_found(found.found, now)
        if self._processors.unknown:
            self._query_again()
        for name in (one.name for one in found.found if one.is_held):
            unknown = self._processors.unknown.get(name)
            if unknown is None:
                self._resuming.setdefault(name, 0)
            elif now >= unknown.try_at and not unknown.is_known_elsewhere:
                unknown.begin_to_try(now)
                self._trying.append(name)

    def _resume(self, name: str) -> None:
        limit = self._limit.rows
        resume = partial(holding.resume, queue=self._config.queue, processor=name, limit=limit)
        self._thread.submit(resume, partial(self._on_resumed, name, limit))

    def _on_resumed(self, name: str, limit: int, result: Any) -> None:
        if not self._is_answer(result, limit):
            return
        self._resuming[name] += result
        if result >= limit and name in self._processors.known and not self.is_stopped:
            return
        number = self._resuming.pop(name)
        if number:
            bus.emit(TasksResumed, self._config.queue, name, number, REASON_UNREGISTERED)
            self._resumed()

    def _try(self, name: str) -> None:
        resume = partial(holding.resume, queue=self._config.queue, processor=name, limit=1, is_known=False)
        self._thread.submit(resume, self._on_tried)

    def _on_tried(self, result: Any) -> None:
        if self._is_answer(result, 1):
            self._resumed()

    def _is_answer(self, result: Any, limit: int) -> bool:
        """Return whether a call for ``limit`` rows succeeded; if not, it is repeated later."""
        if not isinstance(result, Exception):
            self._limit.finished(limit)
            if self._outage.has_paused:
                self._outage.end()
            return True
        self._query_again()
        is_early = time.monotonic() - self._began_at < answer_seconds(self._config.lease_seconds)
        if error := self._limit.judge(result, limit, is_early):
            self._resuming.clear()
            self._outage.fail(error)
        return False

    def _emit_ended(self, task: FailedTask) -> None:
        ref = TaskRef(
            task.id,
            task.processor,
            self._config.queue,
            task.priority,
            task.attempts + 1,
            task.retries,
            task.postpones,
            task_context.decoded(task.context),
        )
        if task.has_expired:
            bus.emit(TaskExpired, ref)
            return
        self.failed += 1
        error = ErrorInfo.of(registry.unknown(task.processor))
        bus.emit(TaskFailed, ref, None, REASON_UNREGISTERED, error)


def _query(
    connection: BaseDatabaseWrapper,
    queue: str,
    manager: UUID,
    publish: frozenset[str] | None,
    unknown: list[str],
    grace_seconds: float | None,
    limit: int,
) -> HeldTasksFound:
    """Publish the known processors, query held tasks, and fail those held for too long, in this order."""
    if publish is not None:
        holding.publish(connection, manager, publish)
    found = holding.find_held(connection, queue, manager, unknown)
    if grace_seconds is None or not any(one.is_held and not one.is_known_elsewhere for one in found):
        return HeldTasksFound(found, [])
    error = ErrorInfo.of(registry.unknown("%s"))
    expired = expiring.ERROR.type, expiring.ERROR.message
    failed = holding.fail_expired(
        connection, queue, grace_seconds, limit, (error.type, error.message), expired
    )
    return HeldTasksFound(found, failed)
