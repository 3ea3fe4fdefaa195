"""Settle and release tasks by group commit: outcomes gather during a write, and just after it has begun."""

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, repeat
from typing import Final
from uuid import UUID

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.batch_limit import BatchLimit
from django_partisan.engine.manager.batch_writing import write_parts
from django_partisan.engine.manager.component import NEVER, Component
from django_partisan.engine.manager.database_thread import DatabaseThread
from django_partisan.engine.manager.delayed_outcomes import DelayedOutcomes, Entry, Kept, Part, fitting
from django_partisan.engine.manager.outage import Outage
from django_partisan.engine.manager.queue_pause import QueuePause
from django_partisan.engine.manager.settle_events import SettleEvents
from django_partisan.engine.manager.unsettled_limit import UnsettledLimit
from django_partisan.engine.outcome_writing import Kind, WriteResult
from django_partisan.outcomes import (
    CRASHED,
    REASON_PAUSED,
    REASON_SHARED,
    REASON_STOPPED,
    REASON_WORKER_LOST,
    REASONS_TO_NAME,
)
from django_partisan.sql.claiming import ATTEMPTS, CRASHES, ID, TOKEN, TaskRow
from django_partisan.sql.history import UNKNOWN_RUN, EndedRun, history_entry
from django_partisan.sql.row_changes import STATUS_ERROR, STATUS_NEW, Crash, RowChange, StoppedRun
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import SettleErrored, SettleFailed

BATCH_AT_MOST: Final = 5000
GATHER_SECONDS: Final = 0.003
"""Minimum time between the starts of two writes. Under load, fewer writes of more outcomes cost less."""


class Settler(Component):
    """The component that settles and releases tasks; outcomes wait while the database is down.

    Each kind of outcome is written by a separate statement, completed tasks first. Outcomes that wait for
    locks of other transactions, or take too long in one statement, are delayed and retried separately, in
    ever smaller parts. ``requeued`` is called when tasks wait again, with the seconds until the first of them
    is due. ``identity`` returns the id of this manager's row. Outcomes gather for ``gather_seconds`` after a
    write has begun.
    """

    def __init__(
        self,
        config: QueueConfig,
        thread: DatabaseThread,
        outage: Outage,
        requeued: Callable[[float], None],
        identity: Callable[[], UUID],
        pause: QueuePause,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._config = config
        self._identity = identity
        self._thread = thread
        self._requeued = requeued
        self._pause = pause
        self._gathered: dict[Kind, list[Entry]] = {kind: [] for kind in Kind}
        self._under_way: list[Part] = []
        self._delayed = DelayedOutcomes()
        self._awaited: dict[int, Callable[[TaskRow | None], None]] = {}
        """Callbacks for counted crashes, by the new token."""
        self._written: dict[tuple[int, int], Callable[[], None]] = {}
        """Callbacks for written outcomes, by task id and token."""
        self._limit = BatchLimit(BATCH_AT_MOST)
        self._outage = outage
        self._events = SettleEvents(config.queue)
        self._unsettled_limit = UnsettledLimit()
        self._gather_seconds = gather_seconds
        self._gather_until = 0.0
        self._failed = 0

    @property
    def failed(self) -> int:
        """Number of tasks that have failed so far."""
        return self._failed + self._events.failed

    @property
    def released(self) -> int:
        """Number of tasks released since the manager began to drain."""
        return self._events.released

    @property
    def last_finished_at(self) -> float | None:
        """Unix time of the last write of outcomes."""
        return self._events.last_finished_at

    @property
    def unsettled(self) -> int:
        """Number of outcomes that are not written yet."""
        under_way = sum(len(part.entries) for part in self._under_way)
        return sum(map(len, self._gathered.values())) + under_way + len(self._delayed)

    @property
    def is_idle(self) -> bool:
        """True if every outcome is written."""
        return not self.unsettled

    @property
    def is_reachable(self) -> bool:
        """False while settling fails."""
        return not self._outage.is_on

    @property
    def is_delayed(self) -> bool:
        """True if outcomes are unwritten, and all of them have been tried and delayed."""
        is_tried = all(part.is_retry for part in self._under_way) and not any(self._gathered.values())
        return is_tried and not self.is_idle

    @property
    def is_full(self) -> bool:
        """True if there are so many unsettled outcomes that no more tasks should be claimed."""
        return self._unsettled_limit.is_reached(self.unsettled, self._entries)

    def complete(self, rows: list[TaskRow]) -> None:
        """Delete completed tasks with the next write."""
        self._gathered[Kind.COMPLETED] += zip(rows, repeat(None))

    def keep_completed(self, rows: list[TaskRow], runs: list[Kept]) -> None:
        """Mark completed tasks as finished with the next write; ``runs`` holds what each row keeps."""
        self._gathered[Kind.KEPT] += zip(rows, runs, strict=True)

    def settle(self, row: TaskRow, change: RowChange, *, written: Callable[[], None] | None = None) -> None:
        """Settle a task by applying ``change`` to its row with the next write.

        ``written`` is called after the outcome was written, but not if the claim was lost.
        """
        self._gathered[Kind.CHANGED].append((row, change))
        if written is None:
            self._failed += _is_failure(change)
        else:  # counted once written: the run may have committed its completion
            self._written[row[ID], row[TOKEN]] = written

    def count_crash(
        self,
        row: TaskRow,
        token: int,
        counted: Callable[[TaskRow | None], None],
        run: EndedRun = UNKNOWN_RUN,
    ) -> None:
        """Count a crash and continue the claim under a new ``token``; then call ``counted``.

        ``counted`` gets the updated task, or ``None`` if the claim was lost or the row was deleted.
        """
        entry = history_entry(CRASHED, run, reason=REASON_WORKER_LOST)
        self._gathered[Kind.CRASHED].append((row, Crash(row[ID], row[TOKEN], token, entry, run.started)))
        self._awaited[token] = counted

    def release(self, rows: list[TaskRow]) -> None:
        """Release tasks that have not started."""
        self._gathered[Kind.RELEASED] += zip(rows, repeat(None))

    def release_stopped(self, rows: list[TaskRow]) -> None:
        """Release tasks whose run was stopped; they can no longer expire."""
        self._gathered[Kind.RELEASED] += [(row, StoppedRun(row[ID], row[TOKEN])) for row in rows]

    def turn(self, now: float) -> None:
        """Write the gathered outcomes, unless a write is under way."""
        if now < self.next_at():
            return
        self._gather_until = now + self._gather_seconds
        parts = self._under_way = self._under_way or self._gather(now)
        call = partial(write_parts, parts=parts, manager=self._identity())
        self._thread.submit(call, partial(self._on_written, now))

    def next_at(self) -> float:
        """Return the monotonic time of the next write, which an outage delays."""
        if self._thread.is_busy:
            return NEVER
        is_waiting = self._under_way or any(self._gathered.values())
        due_at = self._gather_until if is_waiting else self._delayed.next_at()
        return max(self._outage.retry_at, due_at)

    def rows(self) -> list[TaskRow]:
        """Return the tasks that are not settled yet."""
        return [row for row, _ in self._entries()]

    def ids(self) -> list[int]:
        """Return the ids of the tasks that are not settled yet."""
        return [row[ID] for row, _ in self._entries()]

    @property
    def _reason_to_release(self) -> str:
        if self.is_stopped:
            return REASON_STOPPED
        return REASON_PAUSED if self._pause.is_on else REASON_SHARED

    def _entries(self) -> Iterator[Entry]:
        yield from chain(*self._gathered.values())
        yield from chain(*(part.entries for part in self._under_way))
        yield from self._delayed

    def _gather(self, now: float) -> list[Part]:
        at_most = self._limit.rows
        parts = []
        for kind, entries in self._gathered.items():
            if entries:
                number = fitting(kind, entries, at_most)
                parts.append(Part(kind, entries[:number]))
                self._gathered[kind] = entries[number:]
        delayed = self._delayed.take(now, at_most)
        return parts if delayed is None else [*parts, delayed]

    def _on_written(self, started: float, result: list[WriteResult] | Exception) -> None:
        parts = self._under_way
        if isinstance(result, Exception):
            self._under_way = [part._replace(again=True) for part in parts]
            bus.emit(SettleErrored, self._config.queue)
            if self._outage.fail(result):
                bus.emit(SettleFailed, self._config.queue, self.unsettled, self._outage.error)
            return
        self._under_way = []
        self._learn(parts, result)
        delays: list[float] = []
        for part, written in zip(parts, result, strict=True):
            if part.is_retry or written.left:
                self._delayed.add(part, written)
            if part.kind is Kind.CHANGED:
                delays += _delays(part.without(written.left))
                if self._written:
                    self._call_written(part, written)
            elif part.kind is Kind.CRASHED:
                self._call_back(part, written)
        self._events.emit_written(parts, result, time.monotonic() - started, self._reason_to_release)
        self._events.emit_delayed(self._delayed, result)
        if delays:
            self._requeued(min(delays))  # only after the write: an earlier check would not find them

    def _learn(self, parts: list[Part], result: list[WriteResult]) -> None:
        """Adjust the size of batches, and end the outage unless every statement was cancelled."""
        for part, written in zip(parts, result, strict=True):
            if not part.is_retry and len(part.entries) > 1:
                if written.is_cancelled:
                    self._limit.cancelled(len(part.entries))
                else:
                    self._limit.finished(len(part.entries))
        if not all(written.is_cancelled for written in result):
            self._outage.end()
        elif error := next((written.error for written in result if written.later), None):
            self._outage.fail(error)

    def _call_back(self, part: Part, written: WriteResult) -> None:
        """Call back for counted crashes, with the updated task or, if the crash was dropped, ``None``."""
        dropped = _dropped(written)
        for row, crash in part.without(written.left):
            assert isinstance(crash, Crash)
            counted = self._awaited.pop(crash.new_token)
            counted(None if row[ID] in dropped else _after_crash(row, crash))

    def _call_written(self, part: Part, written: WriteResult) -> None:
        dropped = _dropped(written)
        for row, change in part.without(written.left):
            call = self._written.pop((row[ID], row[TOKEN]), None)
            if call is not None and row[ID] not in dropped:
                assert isinstance(change, RowChange)
                self._failed += _is_failure(change)
                call()


def _dropped(written: WriteResult) -> set[int]:
    """Return the ids of the tasks whose outcomes were dropped."""
    return {*written.lost, *(task_id for task_id, _ in written.unsettleable)}


def _is_failure(change: RowChange) -> bool:
    """Return whether a task failed, rather than being cancelled, for example."""
    return change.status == STATUS_ERROR and change.reason not in REASONS_TO_NAME


def _delays(entries: list[Entry]) -> list[float]:
    """Return the seconds until each of the tasks that wait again can be claimed."""
    changes = [change for _, change in entries if isinstance(change, RowChange)]
    return [change.delay for change in changes if change.status == STATUS_NEW and change.held is None]


def _after_crash(row: TaskRow, crash: Crash) -> TaskRow:
    columns = list(row)
    columns[ATTEMPTS] = row[ATTEMPTS] + 1
    columns[CRASHES] = row[CRASHES] + 1
    columns[TOKEN] = crash.new_token
    return tuple(columns)  # type: ignore[return-value]
