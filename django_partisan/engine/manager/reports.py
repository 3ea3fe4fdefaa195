"""Handle the reports of workers: pass outcomes to the settler, and learn from the runs.

Reports contain how long runs took; the outcomes also show which processors a worker can run.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from django_partisan.engine.manager.expirations import Expirations
from django_partisan.engine.manager.intake import Intake
from django_partisan.engine.manager.known_processors import KnownProcessors
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.manager.worker_process import WorkerProcess
from django_partisan.engine.protocol import Report
from django_partisan.engine.task_ref import task_ref
from django_partisan.outcomes import REASON_EXPIRED, REASON_UNREGISTERED
from django_partisan.sql.claiming import ID, PROCESSOR, TaskRow
from django_partisan.sql.row_changes import STATUS_NEW, RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.tasks import TaskClaimLost


class _Changed(NamedTuple):
    """The tasks whose outcomes a report describes as row changes."""

    others: Sequence[TaskRow] = ()
    unregistered: Sequence[TaskRow] = ()
    """Those of ``others`` that the worker could not run."""
    expired: Sequence[TaskRow] = ()


_NOTHING = _Changed()


class Reports:
    """The receiver of reports: it passes outcomes to the settler and informs ``intake`` of ended runs."""

    def __init__(self, queue: str, settler: Settler, processors: KnownProcessors, intake: Intake) -> None:
        self._queue = queue
        self._settler = settler
        self._processors = processors
        self._intake = intake
        self._expirations = Expirations(queue, settler)

    def receive(self, worker: WorkerProcess, report: Report) -> None:
        """Settle the outcomes in a report, and record how long the runs took."""
        rows = worker.remove_tasks(report.completed)
        self._settler.complete(rows)
        if report.kept:
            rows += self._keep(worker, report)
        changed = self._change(worker, report.changes) if report.changes else _NOTHING
        rows += changed.others
        rows += worker.remove_tasks(report.settled)
        for row in worker.remove_tasks(report.claims_lost):
            rows.append(row)
            bus.emit(TaskClaimLost, task_ref(row, self._queue))
        if changed.unregistered or self._processors.unknown:
            self._record_run_times(rows, changed.unregistered)
        rows += changed.expired
        self._intake.still_claimed(rows)
        for processor, (runs, seconds) in report.measured.items():
            worker.subtract_expected(runs * self._intake.run_times.expected(processor))
            if processor not in self._processors.unknown:
                self._intake.run_times.record(processor, runs, seconds)
        bus.absorb(worker.slot, report.telemetry)

    def _keep(self, worker: WorkerProcess, report: Report) -> list[TaskRow]:
        """Pass completed runs whose rows are kept to the settler; return their tasks."""
        kept = {task_id: (started, worker.name, result) for task_id, started, result in report.kept}
        rows = worker.remove_tasks(list(kept))
        self._settler.keep_completed(rows, [kept[row[ID]] for row in rows])
        return rows

    def _change(self, worker: WorkerProcess, changes: Sequence[Any]) -> _Changed:
        """Pass the outcomes that are row changes to the settler; return their tasks."""
        others, unregistered, expired = list[TaskRow](), list[TaskRow](), list[TaskRow]()
        for values in changes:
            change = RowChange(*values)
            for row in worker.remove_tasks([change.id]):
                if change.reason == REASON_EXPIRED:
                    worker.subtract_expected(self._intake.run_times.expected(row[PROCESSOR]))
                    self._expirations.settle(row, change)
                    expired.append(row)
                    continue
                others.append(row)
                self._settle(row, change)
                if change.held == REASON_UNREGISTERED:
                    unregistered.append(row)
        return _Changed(others, unregistered, expired)

    def _settle(self, row: TaskRow, change: RowChange) -> None:
        """Pass an outcome to the settler; end a task with a cancel request instead of running it again."""
        requests = self._intake.cancel_requests
        if requests and change.status == STATUS_NEW and row in requests:
            change = requests.end(row, change)
        self._settler.settle(row, change)

    def _record_run_times(self, rows: Sequence[TaskRow], unregistered: Sequence[TaskRow]) -> None:
        """Update which processors workers can run, from tasks that ran and tasks that could not run."""
        names = {row[PROCESSOR] for row in unregistered}
        self._processors.note_runs({row[PROCESSOR] for row in rows} - names)
        for name in names:
            self._processors.note_unregistered(name)
            self._intake.hold(self._intake.buffer.take_processor(name))
        for row in unregistered:
            self._processors.note_held(row)
