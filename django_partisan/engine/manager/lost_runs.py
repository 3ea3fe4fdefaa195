"""Settle tasks whose run ended with their worker: they run again, are retried, or fail.

If the worker died by itself, a crash is counted. If the manager killed it because an interrupted run did not
end, no crash is counted: the run ends as timed out or cancelled.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from django_partisan import registry
from django_partisan.config.queues import QueueConfig
from django_partisan.engine.interrupting import REASONS, error_of
from django_partisan.engine.judge import RunResult, failed, judge
from django_partisan.engine.manager.claim_tokens import ClaimTokens
from django_partisan.engine.manager.drain import Drain
from django_partisan.engine.manager.settler import Settler
from django_partisan.engine.protocol import Interrupt
from django_partisan.engine.task_ref import task_ref
from django_partisan.exceptions import WorkerLost
from django_partisan.outcomes import CRASHED, FAILED, REASON_CANCELLED, REASON_WORKER_LOST, RETRIED
from django_partisan.sql.claiming import CRASHES, ID, PROCESSOR, TOKEN, TaskRow
from django_partisan.sql.history import UNKNOWN_RUN, EndedRun
from django_partisan.sql.row_changes import STATUS_ERROR, STATUS_NEW, RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.events.runs import TaskCancelled, TaskFailed, TaskRetried
from django_partisan.telemetry.events.tasks import TaskRescued
from django_partisan.telemetry.events.values import ErrorInfo, LostRun, TaskRef


class LostRuns:
    """The handler of runs that were lost with their worker.

    Once a crash is counted, ``run_again`` is called with the task as it was, and as it is under a new token.
    """

    def __init__(
        self,
        config: QueueConfig,
        settler: Settler,
        drain: Drain,
        tokens: ClaimTokens,
        run_again: Callable[[TaskRow, TaskRow], None],
    ) -> None:
        self._config = config
        self._settler = settler
        self._drain = drain
        self._tokens = tokens
        self._run_again = run_again

    def crashed(self, row: TaskRow, lost: LostRun | None, run: EndedRun) -> None:
        """Make a task run again after its worker died; fail it if more than ``MAX_CRASHES`` workers did."""
        if row[CRASHES] >= self._config.max_crashes:
            self.fail(row, task_ref(row, self._config.queue), 1, lost, run)
            return
        if self._drain.is_on:
            self._emit_rescued(row, lost)
            change = RowChange(row[ID], row[TOKEN], STATUS_NEW, crashes=1)
            self._settler.settle(row, change.after(CRASHED, run))
        else:
            token = self._tokens.draw(REASON_WORKER_LOST)
            self._settler.count_crash(row, token, partial(self._on_crash_counted, row, token, lost), run)

    def killed(self, row: TaskRow, message: Interrupt, lost: LostRun, run: EndedRun) -> None:
        """Settle a task whose worker was killed because its run did not end when it was interrupted.

        The event is emitted when the outcome is written, because the run may have committed its completion
        before the worker was killed.
        """
        error = error_of(message.kind, message.comment)
        definition = registry.find(row[PROCESSOR])
        if definition is None:
            result = failed(row, REASONS[message.kind], error)
        else:
            # The pause may be computed by user code, which must run in workers only.
            result = judge(error, row, replace(definition, pause_before_retry=None), self._config, None)
        written = partial(self._emit_killed, row, result, lost)
        self._settler.settle(row, result.change_with_history(run), written=written)

    def fail(
        self, row: TaskRow, task: TaskRef, crashes: int, lost: LostRun | None, run: EndedRun = UNKNOWN_RUN
    ) -> None:
        """Fail a task; ``crashes``, 0 or 1, is the number of crashes that its row does not count yet."""
        times = row[CRASHES] + crashes
        error = ErrorInfo.of(WorkerLost(f"{row[PROCESSOR]}: {times} workers died while running this task."))
        change = RowChange(
            row[ID],
            row[TOKEN],
            STATUS_ERROR,
            attempts=crashes,
            crashes=crashes,
            reason=REASON_WORKER_LOST,
            error_type=error.type,
            error_message=error.message,
            error_traceback="",
        )
        self._settler.settle(row, change.after(FAILED, run))
        bus.emit(TaskFailed, task, None, REASON_WORKER_LOST, error, lost)

    def _on_crash_counted(
        self, before: TaskRow, token: int, lost: LostRun | None, row: TaskRow | None
    ) -> None:
        """Make a task run again if its claim under the new token is certain."""
        is_trusted = self._tokens.answered(token)
        if row is None or not is_trusted:
            return
        self._emit_rescued(before, lost)
        self._run_again(before, row)

    def _emit_rescued(self, row: TaskRow, lost: LostRun | None) -> None:
        bus.emit(TaskRescued, task_ref(row, self._config.queue), REASON_WORKER_LOST, None, lost)

    def _emit_killed(self, row: TaskRow, result: RunResult, lost: LostRun) -> None:
        assert result.error is not None
        task, seconds = task_ref(row, self._config.queue), lost.ended_at - lost.began_at
        if result.outcome == RETRIED:
            left = result.retries_left
            bus.emit(TaskRetried, task, seconds, result.delay_seconds, left, result.error, lost)
        elif result.reason == REASON_CANCELLED:
            bus.emit(TaskCancelled, task, seconds, result.error, lost)
        else:
            bus.emit(TaskFailed, task, seconds, result.reason, result.error, lost)
