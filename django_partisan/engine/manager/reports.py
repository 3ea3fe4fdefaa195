"""Take in what workers report: outcomes go to the settler, the rest is learned.

A report says how long runs took and, by the way they ended, which processors its worker can run.
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
    """The tasks of a report whose rows change otherwise than by a completion."""

    others: Sequence[TaskRow] = ()
    unregistered: Sequence[TaskRow] = ()
    """Of ``others``, those that the worker could not run."""
    expired: Sequence[TaskRow] = ()


_NOTHING = _Changed()


class Reports:
    """Pass the outcomes of runs to the settler; ``intake`` learns which tasks are no longer held."""

    def __init__(self, queue: str, settler: Settler, processors: KnownProcessors, intake: Intake) -> None:
        self._queue = queue
        self._settler = settler
        self._processors = processors
        self._intake = intake
        self._expirations = Expirations(queue, settler)

    def take_in(self, worker: WorkerProcess, report: Report) -> None:
        """Settle the outcomes of runs, and learn how long they took."""
        rows = worker.let_go(report.completed)
        self._settler.complete(rows)
        if report.kept:
            rows += self._keep(worker, report)
        changed = self._change(worker, report.changes) if report.changes else _NOTHING
        rows += changed.others
        rows += worker.let_go(report.settled)
        for row in worker.let_go(report.claims_lost):
            rows.append(row)
            bus.emit(TaskClaimLost, task_ref(row, self._queue))
        if changed.unregistered or self._processors.unknown:
            self._learn(rows, changed.unregistered)
        rows += changed.expired
        self._intake.ours(rows)
        for processor, (runs, seconds) in report.measured.items():
            worker.work_off(runs * self._intake.pace.of(processor))
            if processor not in self._processors.unknown:
                self._intake.pace.learn(processor, runs, seconds)
        bus.absorb(worker.slot, report.telemetry)

    def _keep(self, worker: WorkerProcess, report: Report) -> list[TaskRow]:
        """Hand completed runs whose rows are kept to the settler; return their tasks."""
        kept = {task_id: (started, worker.name, result) for task_id, started, result in report.kept}
        rows = worker.let_go(list(kept))
        self._settler.keep(rows, [kept[row[ID]] for row in rows])
        return rows

    def _change(self, worker: WorkerProcess, changes: Sequence[Any]) -> _Changed:
        """Hand the other outcomes to the settler."""
        others, unregistered, expired = list[TaskRow](), list[TaskRow](), list[TaskRow]()
        for values in changes:
            change = RowChange(*values)
            for row in worker.let_go([change.id]):
                if change.reason == REASON_EXPIRED:
                    worker.work_off(self._intake.pace.of(row[PROCESSOR]))
                    self._expirations.settle(row, change)
                    expired.append(row)
                    continue
                others.append(row)
                self._settle(row, change)
                if change.held == REASON_UNREGISTERED:
                    unregistered.append(row)
        return _Changed(others, unregistered, expired)

    def _settle(self, row: TaskRow, change: RowChange) -> None:
        """Hand an outcome to the settler; a task whose end is requested does not run again."""
        requests = self._intake.cancel_requests
        if requests and change.status == STATUS_NEW and row in requests:
            change = requests.end(row, change)
        self._settler.settle(row, change)

    def _learn(self, rows: Sequence[TaskRow], unregistered: Sequence[TaskRow]) -> None:
        """Learn which processors workers can run, from tasks that ran and tasks that they could not run."""
        names = {row[PROCESSOR] for row in unregistered}
        self._processors.note_runs({row[PROCESSOR] for row in rows} - names)
        for name in names:
            self._processors.note_unregistered(name)
            self._intake.hold(self._intake.buffer.take_of(name))
        for row in unregistered:
            self._processors.note_held(row)
