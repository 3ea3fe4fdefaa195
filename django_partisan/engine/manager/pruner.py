"""Prune rows of tasks that ended long ago: one manager at a time, in small batches.

A manager prunes its own queue and the queues that its settings name. It leaves other queues alone, because
their managers may have other settings.

A pass reads the table once, in the order of the ids, up to rows that are too young to be deleted. Between
passes, each manager only asks, at least every five minutes, whether the next pass is due.
"""

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.db import Error, OperationalError

from django_partisan import retention
from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.batch_limit import BatchLimit
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.outage import Outage, is_temporary
from django_partisan.engine.manager.retry_pause import pause_after
from django_partisan.models import Task
from django_partisan.sql import pruning
from django_partisan.sql.errors import ErrorKind, explained, kind_of
from django_partisan.sql.pruning import BATCH_SECONDS_AT_MOST, Batch, ChoreState, Walk
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import PruneFailed, PrunePassEnded, TasksPruned
from django_partisan.telemetry.events.values import ErrorInfo

ROWS_AT_MOST: Final = 500
"""How many rows one batch deletes at most; this takes some milliseconds, in which other chores wait."""
ROWS_PER_SECOND: Final = 2000.0
READ_PER_ROW: Final = 4
"""How many rows a batch reads for each row that it may delete."""
SLOW_SECONDS: Final = 0.05
"""After a batch that takes longer than this, batches get smaller."""
ROWS_IF_SLOW: Final = 50
"""Slow batches of this size or less do not get smaller."""
REST: Final = 3.0
"""The pause after a batch, as a multiple of the time that the batch took."""
REST_SECONDS: Final = 0.05
"""The shortest pause after a batch."""
PASS_SECONDS: Final = 300.0
PASS_SECONDS_MIN: Final = 5.0
PASSES: Final = 10.0
"""How many passes begin within the shortest retention time; but at most one every five seconds, and at least
one every five minutes."""
KEPT_RATE: Final = 1000.0
"""Rows that a pass reads and keeps delay the next one: on average, no more than this many are read per
second."""
BUSY_SECONDS: Final = 60.0
"""How often other managers check whether the manager that prunes is still active."""
SILENT_SECONDS: Final = 60.0
"""A manager that has finished no batch of its pass for this long loses the pass to another manager."""
RETRY_SECONDS: Final = 5.0
"""The pause after a failure. After a batch that took too long it is twice this, and doubles each time."""
CANCELLED_OFTEN: Final = 5
"""After this many cancelled batches in a row, which takes some minutes, smaller batches have not helped."""
TOO_LONG: Final = (
    "{} batches in a row took longer than {:g} s and deleted nothing; look for long-running transactions,"
    " which keep VACUUM from removing deleted rows, end them, and then run VACUUM (PostgreSQL: {})"
)


class Pass(NamedTuple):
    """A pass of this manager: its walk, how many rows it has kept, and when it began (monotonic)."""

    manager: UUID
    walk: Walk
    kept: int
    began_at: float


class Pruner(Component):
    """The component that makes pruning passes when they are due; other duties of its thread come first.

    ``identity`` returns the manager's id while it may claim, else ``None``.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        outage: Outage,
        identity: Callable[[], UUID | None],
    ) -> None:
        self._config = config
        self._thread = thread
        self._outage = outage
        self._identity = identity
        self._limit = BatchLimit(ROWS_AT_MOST)
        self._due_at = 0.0
        self._cancelled = 0
        self._pass: Pass | None = None
        self._pruned: Counter[tuple[str, str]] = Counter()
        self._has_emitted = False

    def turn(self, now: float) -> None:
        """If it is time, delete the next batch or ask whether a pass is due."""
        if now < self._due_at:
            return
        manager = self._identity()
        if manager is None or now < self.next_at():
            return
        if self._pass is not None and self._pass.manager != manager:
            self._pass = None  # the lease was lost, and another manager may have taken over
        if self._pass is not None:
            self._make_batch(self._pass, now)
        else:
            self._take_chore(manager, now)

    def next_at(self) -> float:
        """Return the monotonic time of the next batch or question."""
        if self.is_stopped or self._thread.is_busy or self._identity() is None:
            return NEVER
        return max(self._due_at, self._outage.retry_at)

    def stop(self) -> None:
        """Release an unfinished pass to other managers, unless that would delay the stop."""
        super().stop()
        if self._pass is not None and not self._outage.is_on:
            release = partial(pruning.release, manager=self._pass.manager)
            self._thread.submit(release, lambda result: self._end_pass())

    def _take_chore(self, manager: UUID, now: float) -> None:
        rules = retention.rules()
        interval = min(max(rules.shortest / PASSES, PASS_SECONDS_MIN), PASS_SECONDS)
        self._due_at = now + interval
        if rules.shortest == retention.FOREVER:
            return
        call = partial(
            pruning.take,
            manager=manager,
            interval=interval,
            silent_seconds=SILENT_SECONDS,
            kept_rate=KEPT_RATE,
        )
        self._thread.submit(call, partial(self._on_chore, manager, rules, interval))

    def _on_chore(self, manager: UUID, rules: retention.Rules, interval: float, result: Any) -> None:
        if isinstance(result, Exception):
            self._on_failed(result)
            return
        chore: ChoreState | None = result
        now = time.monotonic()
        if chore is None or chore.wait_seconds > 0:
            wait = interval if chore is None or chore.is_others else chore.wait_seconds
            is_on = chore is None or chore.is_others
            self._due_at = now + min(wait, BUSY_SECONDS if is_on else PASS_SECONDS)
        elif not self.is_stopped:
            queues = retention.queues_of_manager(self._config.queue)
            self._pass = Pass(manager, Walk(rules, chore.after, queues=queues), chore.kept, now)
            self._due_at = now

    def _make_batch(self, current: Pass, now: float) -> None:
        rows = self._limit.rows
        make = partial(
            pruning.prune_as,
            manager=current.manager,
            walk=current.walk._replace(rows=rows, read=rows * READ_PER_ROW),
            kept=current.kept,
            is_patient=False,
        )
        self._thread.submit(make, partial(self._on_batch, current, rows, now))

    def _on_batch(self, current: Pass, rows: int, began_at: float, result: Any) -> None:
        if isinstance(result, Error) and kind_of(result) is ErrorKind.CANCELLED:
            self._on_cancelled(result, rows)
            return
        if isinstance(result, Exception):
            self._on_failed(result)
            return
        self._judge(result, rows)
        now = time.monotonic()
        batch: Batch | None = result
        if batch is None:
            self._end_pass()
            self._due_at = now + BUSY_SECONDS
            return
        self._has_emitted, self._cancelled = False, 0
        for (queue, status), number in batch.numbers.items():
            bus.emit(TasksPruned, queue, status, number)
        self._pruned.update(batch.numbers)
        deleted = sum(batch.numbers.values())
        rest = max(REST_SECONDS, REST * batch.seconds, deleted / ROWS_PER_SECOND - (now - began_at))
        self._due_at = now + rest
        walk, kept = current.walk._replace(after=batch.last), current.kept + batch.kept
        self._pass = current._replace(walk=walk, kept=kept)
        if batch.is_over:
            self._end_pass()

    def _judge(self, batch: Batch | None, rows: int) -> None:
        if batch is not None and batch.seconds > SLOW_SECONDS:
            if rows > ROWS_IF_SLOW:
                self._limit.cancelled(rows)
        else:
            self._limit.finished(rows)

    def _end_pass(self) -> None:
        current, self._pass = self._pass, None
        pruned, self._pruned = self._pruned, Counter()
        if current is not None:
            finished, failed = (
                sum(number for (_, status), number in pruned.items() if status == one)
                for one in (Task.STATUS_FINISHED, Task.STATUS_ERROR)
            )
            seconds = time.monotonic() - current.began_at
            bus.emit(PrunePassEnded, self._config.queue, finished, failed, seconds)

    def _on_cancelled(self, error: Error, rows: int) -> None:
        """Try fewer rows after a longer pause; dead rows before the first row can slow down any batch."""
        self._cancelled += 1
        self._limit.cancelled(rows)
        self._due_at = time.monotonic() + pause_after(self._cancelled, 2 * RETRY_SECONDS, PASS_SECONDS)
        if self._cancelled >= CANCELLED_OFTEN:
            text = TOO_LONG.format(self._cancelled, BATCH_SECONDS_AT_MOST, str(error).strip())
            self._emit_failed(OperationalError(text))

    def _on_failed(self, error: Exception) -> None:
        """Try again later; emit ``PruneFailed`` once, unless other components report the cause."""
        if not isinstance(error, Error):
            raise error
        self._due_at = time.monotonic() + RETRY_SECONDS
        if kind_of(error) is ErrorKind.CANCELLED:
            self._emit_failed(explained(error))
        elif not is_temporary(error):
            self._emit_failed(error)

    def _emit_failed(self, error: Error) -> None:
        if not self._has_emitted:
            self._has_emitted = True
            bus.emit(PruneFailed, self._config.queue, ErrorInfo.of(error))
