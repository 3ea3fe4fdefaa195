"""Decide the result of a run. Settling, reports, telemetry and tests read the result."""

from typing import Any, Final, NamedTuple

from django_partisan import results
from django_partisan.config.const import DELAY_STRATEGY_EXPONENTIAL
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.config.queues import QueueConfig
from django_partisan.config.validation import seconds
from django_partisan.definitions import TaskDefinition
from django_partisan.engine import expiring
from django_partisan.exceptions import (
    ClaimLost,
    MaxPostponesReached,
    PostponeTask,
    RetryTask,
    TaskCancelled,
    TaskTimeout,
    UnstorableResult,
)
from django_partisan.moments import LONGEST_DELAY_SECONDS
from django_partisan.outcomes import (
    COMPLETED,
    FAILED,
    POSTPONED,
    REASON_CANCELLED,
    REASON_ERROR,
    REASON_EXPIRED,
    REASON_MAX_POSTPONES,
    REASON_RETRIES_EXHAUSTED,
    REASON_TIMEOUT,
    REASON_UNREGISTERED,
    RETRIED,
)
from django_partisan.processor import CurrentTask
from django_partisan.sql.claiming import ID, POSTPONES, RETRIES, TOKEN, TaskRow
from django_partisan.sql.history import EndedRun
from django_partisan.sql.row_changes import STATUS_ERROR, STATUS_NEW, RowChange
from django_partisan.telemetry.events.values import ErrorInfo

# Used instead of an outcome: another manager took over the task, so nothing is settled or emitted.
CLAIM_LOST: Final = "claim_lost"
# Used instead of an outcome: the processor is not registered in this worker, so the task is held without a
# run.
HELD: Final = "held"
# Used instead of an outcome: the task expired before it started, so it ends without a run.
EXPIRED: Final = "expired"


class RunResult(NamedTuple):
    """The result of a run; the defaults are those of a run that completed and still has to be settled.

    ``outcome`` is ``COMPLETED``, ``POSTPONED``, ``RETRIED`` or ``FAILED`` from ``outcomes``, or
    ``CLAIM_LOST``, ``HELD`` or ``EXPIRED``. ``is_settled`` is true if the completion was committed with the
    run (``ATOMIC``). ``result`` is the return value as JSON text, if it is stored in the row. ``change`` is
    the change to the row if the run did not complete. ``reason`` is why the task failed, one of the
    ``REASON_*`` words; ``delay_seconds`` is the delay of a postponed or retried task. ``comment`` is the
    ``reason`` argument of ``PostponeTask``; ``error`` is the exception of a retried or failed run.
    """

    outcome: str = COMPLETED
    is_settled: bool = False
    result: str | None = None
    change: RowChange | None = None
    reason: str = ""
    delay_seconds: float = 0.0
    comment: str | None = None
    retries_left: int = 0
    error: ErrorInfo | None = None

    def change_with_history(self, run: EndedRun) -> RowChange:
        """Return ``change`` with a history entry for the run, if there was a run."""
        assert self.change is not None
        if self.outcome in (HELD, EXPIRED):
            return self.change
        return self.change.after(self.outcome, run, self.comment)


RETRY_ON_REQUEST: Final = ErrorsHandleConfig("*", 3, 5, DELAY_STRATEGY_EXPONENTIAL)
"""The retry rule of a task that raises ``RetryTask`` if no other rule applies to it."""

_DELAY: Final = seconds(0)
# The result of every run that completed, keeps no result and still has to be settled.
RAN: Final = RunResult()
# Shared by all runs whose result is kept and that returned None.
RETURNED_NONE: Final = RunResult(result=results.NONE)


def judge(
    error: BaseException,
    row: TaskRow,
    definition: TaskDefinition,
    config: QueueConfig,
    current: CurrentTask | None,
) -> RunResult:
    """Return the result of a run that raised ``error``; never raises.

    ``current`` is passed to the definition's ``pause_before_retry``; ``None`` only if it has none.
    """
    try:
        if isinstance(error, PostponeTask):
            return _postponed(error, row, definition, config)
        if isinstance(error, ClaimLost):
            return RunResult(CLAIM_LOST)
        if isinstance(error, UnstorableResult):
            return failed(row, error.reason, error)
        if isinstance(error, TaskCancelled):
            return failed(row, REASON_CANCELLED, error)
        if isinstance(error, RetryTask):
            return _retried_on_request(error, row, definition, config, current)
        return _retried_or_failed(error, row, definition, config, current)
    except Exception as broken:  # the task's exception or its list of errors cannot be read
        return failed(row, REASON_ERROR, broken)


def unregistered(row: TaskRow) -> RunResult:
    """Return the result of a task that did not run because its processor is not registered here."""
    return RunResult(HELD, change=RowChange.hold(row[ID], row[TOKEN], REASON_UNREGISTERED))


def expired(row: TaskRow) -> RunResult:
    """Return the result of a task that did not run because it has expired."""
    return RunResult(EXPIRED, change=expiring.expire(row), reason=REASON_EXPIRED)


def failed(row: TaskRow, reason: str, error: BaseException) -> RunResult:
    """Return the result of a run that failed its task."""
    info = ErrorInfo.of(error)
    change = _change(row, STATUS_ERROR, info, reason=reason)
    return RunResult(FAILED, change=change, reason=reason, error=info)


def storable(text: str) -> str:
    """Return ``text`` without characters that PostgreSQL cannot store: NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _postponed(
    request: PostponeTask, row: TaskRow, definition: TaskDefinition, config: QueueConfig
) -> RunResult:
    delay = request.postpone_for_seconds
    if delay is None:
        delay = config.default_postpone_delay_seconds
    if not _DELAY.accepts(delay):
        wrong = ValueError(
            f"PostponeTask was raised with {delay!r}; "
            f"expected a number of seconds from 0 to {LONGEST_DELAY_SECONDS} (a hundred years)."
        )
        return failed(row, REASON_ERROR, wrong)
    own = definition.postpone
    limit = config.default_postpones_count if own is None else own.max_postpones
    if limit is not None and row[POSTPONES] >= limit:
        reached = MaxPostponesReached(
            f"{definition.name}: postponed {row[POSTPONES]} times, which is the limit."
        )
        return failed(row, REASON_MAX_POSTPONES, reached)
    change = RowChange(row[ID], row[TOKEN], STATUS_NEW, float(delay), postpones=1)
    return RunResult(POSTPONED, change=change, delay_seconds=float(delay), comment=request.reason)


def _retried_on_request(
    request: RetryTask,
    row: TaskRow,
    definition: TaskDefinition,
    config: QueueConfig,
    current: CurrentTask | None,
) -> RunResult:
    least = 0.0 if request.seconds is None else request.seconds
    if not _DELAY.accepts(least):
        wrong = ValueError(
            f"RetryTask was raised with {least!r} seconds; "
            f"expected a number from 0 to {LONGEST_DELAY_SECONDS} (a hundred years)."
        )
        return failed(row, REASON_ERROR, wrong)
    error = request if request.error is None else request.error
    retry = definition.retry_in(config.default_retry)
    if not isinstance(retry, ErrorsHandleConfig):
        if not definition.may_retry:
            return failed(row, REASON_RETRIES_EXHAUSTED, error)
        retry = RETRY_ON_REQUEST
    return _retried(error, row, definition, current, retry, float(least))


def _retried_or_failed(
    error: BaseException,
    row: TaskRow,
    definition: TaskDefinition,
    config: QueueConfig,
    current: CurrentTask | None,
) -> RunResult:
    retry = definition.retry_in(config.default_retry)
    # A list of the wrong type, which the system checks report, must not hide the task's error.
    if not isinstance(retry, ErrorsHandleConfig) or not retry.covers(error):
        return failed(row, REASON_TIMEOUT if isinstance(error, TaskTimeout) else REASON_ERROR, error)
    return _retried(error, row, definition, current, retry)


def _retried(
    error: BaseException,
    row: TaskRow,
    definition: TaskDefinition,
    current: CurrentTask | None,
    retry: ErrorsHandleConfig,
    least: float = 0.0,
) -> RunResult:
    """Return a retry after at least ``least`` seconds, or a failure if no retries are left."""
    left = retry.retries_count - row[RETRIES] - 1
    if left < 0:
        return failed(row, REASON_RETRIES_EXHAUSTED, error)
    info = ErrorInfo.of(error)
    if definition.pause_before_retry is None:
        pause = retry.pause_before(row[RETRIES] + 1)
    else:
        pause = definition.pause_before_retry(error, current)
    pause = float(min(max(pause, least), LONGEST_DELAY_SECONDS))
    change = _change(row, STATUS_NEW, info, delay=pause, retries=1)
    return RunResult(RETRIED, change=change, delay_seconds=pause, retries_left=left, error=info)


def _change(row: TaskRow, status: str, info: ErrorInfo, **more: Any) -> RowChange:
    return RowChange(
        row[ID],
        row[TOKEN],
        status,
        error_type=storable(info.type),
        error_message=storable(info.message),
        error_traceback=storable(info.stack_trace),
        **more,
    )
