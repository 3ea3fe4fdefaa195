"""Collect the results of runs between two reports to the manager.

| who | does what |
|---|---|
| the main thread | adds each run, and sends when a report is due |
| the control thread | sends before it returns tasks, also while a run takes long; takes the rest |

Each holds the lock while it adds or sends, so reports leave in the order of their runs.
"""

import os
import threading
from collections import defaultdict
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, NamedTuple, TypeAlias

from django_partisan.engine.judge import CLAIM_LOST, EXPIRED, RAN, RunResult
from django_partisan.engine.protocol import Report
from django_partisan.outcomes import COMPLETED
from django_partisan.sql.claiming import ATTEMPTS, ID, PROCESSOR, TOKEN, TaskRow
from django_partisan.sql.history import EndedRun
from django_partisan.sql.row_changes import Kept, Pair, RowChange, microseconds
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import RunsCompleted
from django_partisan.worker_name import worker_name

EVERY_SECONDS: Final = 0.015
RUNS_MAX: Final = 500
CHARACTERS_MAX: Final = 2**20
"""Report when the pending results have at least this many characters."""


CompletedRun: TypeAlias = tuple[TaskRow, float, float]
"""The row of a completed task, the seconds that the run took, and the monotonic time of its end."""


class UnreportedRuns(NamedTuple):
    """The runs that could not be reported, in the form in which they are settled."""

    completed: list[Pair]
    kept: list[Kept]
    changes: list[RowChange]


class PendingReport:
    """The runs that have ended since the last report."""

    def __init__(
        self,
        queue: str,
        wait_of: Callable[[TaskRow, float], float],
        keeps_completed: bool = False,
        every_seconds: float = EVERY_SECONDS,
        runs_max: int = RUNS_MAX,
    ) -> None:
        """Report after ``every_seconds`` or ``runs_max`` runs.

        ``wait_of`` returns for how long a task had been due when its run started.
        ``keeps_completed`` means that the rows of completed tasks are not deleted.
        """
        self._queue = queue
        self._wait_of = wait_of
        self._keeps_completed = keeps_completed
        self._worker = worker_name(os.getpid())
        self._every_seconds = every_seconds
        self._runs_max = runs_max
        self._lock = threading.Lock()
        self._due_at = 0.0
        self._clear()

    def add(self, row: TaskRow, result: RunResult, seconds: float, ended: float) -> bool:
        """Add a run that took ``seconds`` and ended at a monotonic time; return whether a report is due."""
        with self._lock:
            if result is RAN:
                if not self._keeps_completed:
                    self._completed.append(row)
                else:
                    self._add_kept(row, ended - seconds, seconds, None)
            else:
                self._add_unusual(row, result, ended - seconds, seconds)
                if result.outcome == EXPIRED:  # there was no run to measure
                    self._runs += 1
                    return ended > self._due_at or self._runs >= self._runs_max
            if result is RAN or result.outcome == COMPLETED:
                self._ran[row[PROCESSOR]].append((row, seconds, ended))
            else:
                self._measure(row[PROCESSOR], 1, seconds)
            self._runs += 1
            return ended > self._due_at or self._runs >= self._runs_max

    def _add_kept(self, row: TaskRow, started: float, seconds: float, result: str | None) -> None:
        """Add a completed run whose row is kept; after earlier runs, the history gets an entry for it too."""
        if row[ATTEMPTS]:
            run = EndedRun(started, seconds, self._worker)
            self._changes.append(RowChange.complete(row[ID], row[TOKEN], run, result))
        else:
            self._kept.append((row[ID], row[TOKEN], microseconds(started), self._worker, result))
        if result is not None:
            self._characters += len(result)
            if self._characters >= CHARACTERS_MAX:
                self._due_at = 0.0

    def _add_unusual(self, row: TaskRow, result: RunResult, started: float, seconds: float) -> None:
        if result.result is not None and not result.is_settled:
            self._add_kept(row, started, seconds, result.result)
        elif result.change is not None:
            self._changes.append(result.change_with_history(EndedRun(started, seconds, self._worker)))
        elif result.outcome == CLAIM_LOST:
            self._claims_lost.append(row[ID])
        else:
            self._settled.append(row[ID])

    def _measure(self, processor: str, runs: int, seconds: float) -> None:
        measured = self._measured.get(processor)
        if measured is None:
            self._measured[processor] = [runs, seconds]
        else:
            measured[0] += runs
            measured[1] += seconds

    def _add_completed(self, processor: str, runs: list[CompletedRun]) -> None:
        """Measure the completed runs of a processor, and emit one event for them if a subscriber wants it."""
        durations = [seconds for _, seconds, _ in runs]
        self._measure(processor, len(runs), sum(durations))
        if bus.wanted(RunsCompleted):
            waits = [self._wait_of(row, ended - seconds) for row, seconds, ended in runs]
            attempts = [row[ATTEMPTS] + 1 for row, _, _ in runs]
            bus.emit(RunsCompleted, self._queue, processor, durations, waits, attempts)

    def send(self, send: Callable[[Report], None]) -> None:
        """Send what was collected, if anything; keep it if ``send`` raises."""
        with self._lock:
            for processor, runs in self._ran.items():
                self._add_completed(processor, runs)
            self._ran.clear()
            self._due_at = monotonic() + self._every_seconds
            telemetry = bus.take()
            if not self._runs and not telemetry:
                return
            send(
                Report(
                    [row[ID] for row in self._completed],
                    [(run[0], run[2], run[4]) for run in self._kept],
                    [tuple(change) for change in self._changes],
                    self._settled,
                    self._claims_lost,
                    self._measured,
                    telemetry,
                )
            )
            self._clear()

    def take_unreported(self) -> UnreportedRuns:
        """Return the runs that could not be reported, and clear the report."""
        with self._lock:
            pairs = [(row[ID], row[TOKEN]) for row in self._completed]
            unreported = UnreportedRuns(pairs, self._kept, self._changes)
            self._clear()
        return unreported

    def _clear(self) -> None:
        self._runs = 0
        self._completed: list[TaskRow] = []
        self._kept: list[Kept] = []
        self._characters = 0
        self._changes: list[RowChange] = []
        self._settled: list[int] = []
        self._claims_lost: list[int] = []
        # Number and total seconds of the runs of each processor.
        self._measured: dict[str, list[Any]] = {}
        # Completed runs by processor.
        self._ran: defaultdict[str, list[CompletedRun]] = defaultdict(list)
