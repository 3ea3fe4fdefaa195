"""The worker process: take what the manager hands over, run it, report what came of it."""

import contextlib
import resource
import sys
import threading
from time import monotonic
from typing import Any, Final, TypeAlias

from django.db import connections
from django.utils.module_loading import import_string

from django_partisan.engine import protocol
from django_partisan.engine.pipe import Broken, WorkerEnd
from django_partisan.engine.presence import WorkerPage
from django_partisan.engine.protocol import Flushed, Ready, Report, Retiring, Returned, ToManager
from django_partisan.engine.worker.connections import Hygiene
from django_partisan.engine.worker.executor import SETTLED, Executor
from django_partisan.engine.worker.manager_lost import settle_as_orphan
from django_partisan.engine.worker.prefetch import Inbox
from django_partisan.engine.worker_spec import WorkerSpec
from django_partisan.outcomes import COMPLETED
from django_partisan.sql.claiming import ATTEMPTS, ID, PROCESSOR, TOKEN, TaskRow
from django_partisan.sql.connection import task_database
from django_partisan.sql.settling import RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import RunsCompleted, TelemetryFlushTimedOut, TransactionLeftOpen

REPORT_EVERY_SECONDS: Final = 0.015
REPORT_AT_MOST: Final = 500
IDLE_SECONDS: Final = 1.0
MAXRSS_UNIT_BYTES: Final = 1 if sys.platform == "darwin" else 1024


Figures: TypeAlias = tuple[list[float], list[float], list[int]]
"""Seconds, waits and attempts of runs of one processor."""


class Worker:
    """One worker process, from its start to its end."""

    def __init__(self, pipe: int, bell: int, presence: int, spec: WorkerSpec, warnings: list[str]) -> None:
        self._spec = spec
        self._warnings = warnings
        self._pipe = WorkerEnd(pipe)
        self._sending = threading.Lock()
        self._accounts = threading.Lock()  # the recalling thread reports too, while a run takes long
        self._page = WorkerPage(presence, spec.slot)
        self._inbox = Inbox(self._pipe, bell, self._give_back)
        self._hygiene = Hygiene()
        self._executor = Executor(spec.config, spec.slot, spec.generation, self._inbox.claim_times)
        self._limit = spec.config.tasks_per_worker_instance
        self._report_at = 0.0
        self._forget()
        connections[task_database()].settings_dict["NAME"] = spec.database

    def run(self) -> None:
        """Run tasks until stopped, recycled or orphaned."""
        if self._spec.subscribe is not None:
            path, arguments = self._spec.subscribe
            import_string(path)(self._spec, **arguments)
        self._forget()  # now that it is known who wants what
        self._inbox.start()
        try:
            self._send(Ready(protocol.VERSION, self._warnings))
            while self._turn():
                pass
            self._send(Retiring())
            self._leave()
            self._sending.acquire()  # for good: the recalling thread must not be cut off in a message
        except Broken:
            self._leave_as_orphan()
        finally:
            self._hygiene.close()

    def _turn(self) -> bool:
        """Run one task, or rest; return False when this worker should end."""
        row = self._inbox.next()
        if row is not None:
            self._run_one(row)
            if self._executor.ended > self._report_at or self._unreported >= REPORT_AT_MOST:
                self._report()
            return True
        return self._rest()

    def _rest(self) -> bool:
        """Report, and wait for tasks; return False when this worker should end."""
        self._page.idle(monotonic())
        self._report()
        if self._inbox.stopping or (self._limit is not None and self._page.begun >= self._limit):
            return False
        if self._inbox.wait(IDLE_SECONDS):
            self._hygiene.before_chunk()
            bus.refresh()
        else:
            self._report()
        return True

    def _run_one(self, row: TaskRow) -> None:
        executor = self._executor
        executor.started = started = monotonic()
        self._page.begin(row[ID], started)
        outcome = executor.execute(row)
        with self._accounts:
            self._account(row, outcome, executor.ended - started)
        if self._hygiene.opened:
            for database in self._hygiene.after_run():
                bus.emit(TransactionLeftOpen, executor.run_of(row), database)

    def _account(self, row: TaskRow, outcome: RowChange | str, seconds: float) -> None:
        self._page.busy_seconds += seconds
        self._unreported += 1
        if outcome is COMPLETED:
            self._completed.append(row[ID])
            self._tokens.append(row[TOKEN])
        elif isinstance(outcome, RowChange):
            self._changes.append(tuple(outcome))
        elif outcome is SETTLED:
            self._settled.append(row[ID])
        else:
            self._claims_lost.append(row[ID])
        measured = self._measured.get(row[PROCESSOR])
        if measured is None:
            self._measured[row[PROCESSOR]] = [1, seconds]
        else:
            measured[0] += 1
            measured[1] += seconds
        if self._counted is not None and (outcome is COMPLETED or outcome is SETTLED):
            self._count(row, seconds)

    def _count(self, row: TaskRow, seconds: float) -> None:
        """Keep the figures of a completed run for those who count many at a time."""
        assert self._counted is not None
        figures = self._counted.get(row[PROCESSOR])
        if figures is None:
            figures = self._counted[row[PROCESSOR]] = ([], [], [])
        figures[0].append(seconds)
        figures[1].append(self._executor.wait_of(row))
        figures[2].append(row[ATTEMPTS] + 1)

    def _report(self) -> None:
        """Send what came of the tasks since the last report, with what the subscribers counted."""
        with self._accounts:
            self._send_accounts()

    def _send_accounts(self) -> None:
        for processor, figures in (self._counted or {}).items():
            bus.emit(RunsCompleted, self._spec.config.queue, processor, *figures)
        self._report_at = monotonic() + REPORT_EVERY_SECONDS
        taken = bus.take()
        if not self._unreported and not taken:
            return
        report = Report(
            self._completed, self._changes, self._settled, self._claims_lost, self._measured, taken
        )
        self._send(report)
        self._forget()

    def _forget(self) -> None:
        self._unreported = 0
        self._completed: list[int] = []
        self._tokens: list[int] = []  # of the completed; the manager has them, an orphan needs them
        self._changes: list[tuple[Any, ...]] = []
        self._settled: list[int] = []
        self._claims_lost: list[int] = []
        self._measured: dict[str, Any] = {}
        self._counted: dict[str, Figures] | None = {} if bus.wanted(RunsCompleted) else None

    def _give_back(self, ids: list[int]) -> None:
        """Report and return tasks that were recalled; called in the recalling thread."""
        with contextlib.suppress(Broken):  # the main thread finds out by itself, at its next message
            self._report()
            self._send(Returned(ids))

    def _send(self, message: ToManager) -> None:
        with self._sending:
            self._pipe.send(message)

    def _leave(self) -> None:
        """Flush telemetry, within a bound, and report for the last time."""
        self._flush()
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT_BYTES
        self._send(Flushed(bus.take(), peak_bytes))

    def _leave_as_orphan(self) -> None:
        pairs = list(zip(self._completed, self._tokens, strict=True))
        settle_as_orphan(self._spec.config, pairs, self._changes, self._inbox.take_all())
        self._flush()

    def _flush(self) -> None:
        started = monotonic()
        bus.close(self._spec.flush_seconds)
        seconds = monotonic() - started
        if seconds >= self._spec.flush_seconds:
            spec = self._spec
            bus.emit(TelemetryFlushTimedOut, spec.config.queue, spec.slot, spec.generation, seconds)
