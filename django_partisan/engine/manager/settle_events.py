"""Emit and count the results of writes: settled outcomes, released tasks, lost claims, held-up outcomes."""

import time
from collections.abc import Sequence
from typing import Final

from django_partisan.engine.manager.delayed_outcomes import DelayedOutcomes, Entry, Part
from django_partisan.engine.outcome_writing import Kind, WriteResult
from django_partisan.engine.task_ref import task_ref
from django_partisan.outcomes import REASON_STOPPED, REASON_UNSETTLEABLE
from django_partisan.sql.claiming import CONTEXT, ID
from django_partisan.sql.row_changes import RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.queues import (
    OutcomesSettled,
    SettleErrored,
    SettleFailed,
    TasksReleased,
)
from django_partisan.telemetry.events.runs import TaskFailed
from django_partisan.telemetry.events.tasks import TaskClaimLost
from django_partisan.telemetry.events.values import ErrorInfo

EMITTED_AFTER_SECONDS: Final = 5.0
"""How long outcomes are delayed before an event is emitted; most locks are released sooner."""
LOCKED: Final = ErrorInfo(
    "django_partisan.sql.errors.ErrorKind.LOCKED",
    "other transactions lock these rows, or the table; see pg_blocking_pids()",
    "",
)


class SettleEvents:
    """The events and counts of what the settler of one queue wrote and could not write."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._is_emitted = False
        self.failed = 0
        """Number of tasks that failed because PostgreSQL refused their outcome."""
        self.released = 0
        """Number of tasks released since the manager began to drain."""
        self.last_finished_at: float | None = None

    def emit_written(
        self, parts: Sequence[Part], results: Sequence[WriteResult], seconds: float, reason: str
    ) -> None:
        """Emit the results of a write of several parts, which took ``seconds``.

        ``reason`` is why tasks were released.
        """
        settled: list[Entry] = []
        for part, written in zip(parts, results, strict=True):
            entries = part.without(written.left)
            if part.kind is Kind.RELEASED:
                self._released(len(entries) - len(written.lost), reason)
            elif part.kind is not Kind.CRASHED:
                if part.kind is Kind.CHANGED:
                    entries = [entry for entry in entries if not _is_hold(entry)]
                settled = [*settled, *entries] if settled else entries
            self._not_as_they_were(part, written)
        if settled:
            self.last_finished_at = time.time()
            if bus.wanted(OutcomesSettled):
                contexts = tuple([row[CONTEXT] for row, _ in settled if row[CONTEXT] is not None])
                ids = tuple([row[ID] for row, _ in settled])
                bus.emit(OutcomesSettled, self._queue, len(settled), seconds, contexts, ids)

    def emit_delayed(self, delayed: DelayedOutcomes, results: Sequence[WriteResult]) -> None:
        """Emit events if outcomes stay delayed for long, or if the write of a single one was cancelled.

        ``SettleErrored`` is emitted each time, and ``SettleFailed`` once until nothing is delayed any more.
        """
        if not len(delayed):
            self._is_emitted = False
            return
        left = [written for written in results if written.later]
        error = next((written.error for written in left if written.is_cancelled), None)
        if not left or (error is None and time.monotonic() < delayed.since + EMITTED_AFTER_SECONDS):
            return
        bus.emit(SettleErrored, self._queue)
        if not self._is_emitted:
            self._is_emitted = True
            blockers = next((written.blockers for written in left if written.blockers), "")
            info = _locked(blockers) if error is None else ErrorInfo.of(error)
            bus.emit(SettleFailed, self._queue, len(delayed), info)

    def _released(self, number: int, reason: str) -> None:
        if not number:
            return
        self.released += number if reason == REASON_STOPPED else 0
        bus.emit(TasksReleased, self._queue, number, reason)

    def _not_as_they_were(self, part: Part, written: WriteResult) -> None:
        if not written.lost and not written.unsettleable:
            return
        by_id = {row[ID]: row for row, _ in part.entries}
        if part.kind is not Kind.RELEASED:
            for task_id in written.lost:
                bus.emit(TaskClaimLost, task_ref(by_id[task_id], self._queue))
        for task_id, error in written.unsettleable:
            self.failed += 1
            bus.emit(TaskFailed, task_ref(by_id[task_id], self._queue), None, REASON_UNSETTLEABLE, error)


def _locked(blockers: str) -> ErrorInfo:
    if not blockers:
        return LOCKED
    return LOCKED._replace(message=f"other transactions lock these rows, or the table: {blockers}")


def _is_hold(entry: Entry) -> bool:
    """Return whether a task was only held, which is no outcome."""
    return isinstance(entry[1], RowChange) and entry[1].held is not None
