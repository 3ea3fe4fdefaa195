"""Run tasks again whose worker, or whose whole manager, has died."""

from django_partisan.config.queues import QueueConfig
from django_partisan.engine.manager.buffer import Buffer
from django_partisan.engine.manager.drain import Drain
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.task_ref import task_ref
from django_partisan.exceptions import WorkerLost
from django_partisan.outcomes import REASON_MANAGER_LOST, REASON_STOPPED, REASON_WORKER_LOST
from django_partisan.sql.claiming import ATTEMPTS, CRASHES, ID, PROCESSOR, TOKEN, TaskRow
from django_partisan.sql.leasing import Orphan
from django_partisan.sql.settling import STATUS_ERROR, STATUS_IN_PROCESS, STATUS_NEW, RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import ErrorInfo, TaskFailed, TaskRescued


class Rescue:
    """Have interrupted tasks run again, unless more than ``MAX_CRASHES`` workers died of them."""

    def __init__(self, config: QueueConfig, buffer: Buffer, settler: Settler, drain: Drain) -> None:
        self._config = config
        self._buffer = buffer
        self._settler = settler
        self._drain = drain

    def from_worker(self, begun: TaskRow | None, rest: list[TaskRow]) -> None:
        """Take what a worker held when it ended: the task that it ran, and those it had not started."""
        if self._drain.is_forced:
            self._stopped_by_force(begun, rest)
            return
        if begun is not None:
            self._crashed(begun)
        if self._drain.is_on:
            self._settler.release(rest, REASON_STOPPED)
        else:
            self._buffer.put_back(rest)

    def from_manager(self, orphans: list[Orphan]) -> None:
        """Take what a dead manager held; the claim is ours already, and crashes are counted."""
        for previous, row in orphans:
            if row[CRASHES] > self._config.max_crashes:
                self._fail(row, attempts=0, crashes=0)
                continue
            manager = None if previous is None else str(previous)
            bus.emit(TaskRescued, task_ref(row, self._config.queue), REASON_MANAGER_LOST, manager)
            if self._drain.is_on:
                self._settler.release([row], REASON_STOPPED)
            else:
                self._buffer.add_rescued([row])

    def _crashed(self, row: TaskRow) -> None:
        if row[CRASHES] >= self._config.max_crashes:
            self._fail(row, attempts=1, crashes=1)
            return
        bus.emit(TaskRescued, task_ref(row, self._config.queue), REASON_WORKER_LOST, None)
        status = STATUS_NEW if self._drain.is_on else STATUS_IN_PROCESS
        self._settler.settle(row, RowChange(row[ID], row[TOKEN], status, crashes=1))
        if not self._drain.is_on:
            self._buffer.add_rescued([_with_crash(row)])

    def _fail(self, row: TaskRow, attempts: int, crashes: int) -> None:
        times = row[CRASHES] + crashes
        error = ErrorInfo.of(WorkerLost(f"{row[PROCESSOR]}: its worker died {times} times while it ran."))
        change = RowChange(
            row[ID],
            row[TOKEN],
            STATUS_ERROR,
            attempts=attempts,
            crashes=crashes,
            reason=REASON_WORKER_LOST,
            error_type=error.type,
            error_message=error.message,
            error_traceback="",
        )
        self._settler.settle(row, change)
        bus.emit(TaskFailed, task_ref(row, self._config.queue), None, REASON_WORKER_LOST, error)

    def _stopped_by_force(self, begun: TaskRow | None, rest: list[TaskRow]) -> None:
        """Release all tasks unchanged: a forced stop counts no attempt."""
        if begun is not None:
            bus.emit(TaskRescued, task_ref(begun, self._config.queue), REASON_STOPPED, None)
            rest = [begun, *rest]
        self._settler.release(rest, REASON_STOPPED)


def _with_crash(row: TaskRow) -> TaskRow:
    columns = list(row)
    columns[ATTEMPTS] = row[ATTEMPTS] + 1
    columns[CRASHES] = row[CRASHES] + 1
    return tuple(columns)  # type: ignore[return-value]
