"""One run of a task, and what comes of it."""

import json
from collections.abc import Mapping
from contextvars import copy_context
from time import monotonic
from typing import Any, Final, NamedTuple

from django.db import connections, transaction

from django_partisan import arguments, registry
from django_partisan.config.queues import QueueConfig
from django_partisan.exceptions import ClaimLost, MaxPostponesReached, PostponeTask, ProcessorClassNotFound
from django_partisan.outcomes import (
    COMPLETED,
    REASON_ERROR,
    REASON_MAX_POSTPONES,
    REASON_RETRIES_EXHAUSTED,
    REASON_UNREGISTERED,
)
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.claiming import (
    ARGUMENTS,
    ATTEMPTS,
    CONTEXT,
    ID,
    POSTPONES,
    PRIORITY,
    PROCESSOR,
    RETRIES,
    TOKEN,
    WAIT,
    TaskRow,
)
from django_partisan.sql.connection import task_database
from django_partisan.sql.settling import STATUS_ERROR, STATUS_NEW, RowChange, settle_completed
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import (
    ErrorInfo,
    Event,
    Run,
    Running,
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
    TaskStarted,
)

LONGEST_DELAY_SECONDS: Final = 100 * 31_557_600
"""PostgreSQL knows dates that Python does not: a row that waits until then could not be read."""
SETTLED: Final = "settled"
CLAIM_LOST: Final = "claim_lost"


class Ending(NamedTuple):
    """How a run ended, unless it simply completed.

    ``outcome`` is for the manager to settle, or one of the words above if nothing is. ``event`` and
    ``values`` are told after the run and its seconds.
    """

    outcome: RowChange | str
    event: type[Event] | None
    values: tuple[Any, ...] = ()


class Executor:
    """Run tasks, one at a time, for one worker."""

    def __init__(
        self, config: QueueConfig, slot: int, generation: int, claim_times: Mapping[int, float]
    ) -> None:
        """Run for a worker; ``claim_times`` are those of the claims its tasks came with, by token."""
        self._config = config
        self._slot = slot
        self._generation = generation
        self._claim_times = claim_times
        self.started = self.ended = 0.0
        """The last run's monotonic times; the worker, which reads the clock anyway, sets the first."""

    @property
    def seconds(self) -> float:
        """How long the last run took."""
        return self.ended - self.started

    def execute(self, row: TaskRow) -> RowChange | str:
        """Run a task in a context of its own and return its outcome; raises nothing."""
        return copy_context().run(self._execute, row)

    def wait_of(self, row: TaskRow) -> float:
        """Return the seconds that the task was due before its run started.

        The database says how long it was when the task was claimed; from there our own clock counts.
        """
        started = self.started
        return max(0.0, row[WAIT] + started - self._claim_times.get(row[TOKEN], started))

    def run_of(self, row: TaskRow) -> Run:
        """Return the name under which this run is told."""
        context = row[CONTEXT]
        return Run(
            row[ID],
            row[PROCESSOR],
            self._config.queue,
            row[PRIORITY],
            row[ATTEMPTS] + 1,
            row[RETRIES],
            row[POSTPONES],
            self._slot,
            self._generation,
            self.wait_of(row),
            None if context is None else _headers(context),
            row[ARGUMENTS],
        )

    def _execute(self, row: TaskRow) -> RowChange | str:
        carries_context = row[CONTEXT] is not None
        if not carries_context and not bus.each_run_is_watched():
            ending = self._attempt(row)
            if ending is None:
                return COMPLETED
            self._tell(ending, self.run_of(row))
            return ending.outcome
        run = self.run_of(row)
        if not carries_context and not bus.each_run_is_surrounded():
            return self._told(row, run)
        with bus.around(Running(run, _propagation(row[PROCESSOR]))):
            return _with_headers(self._told(row, run))

    def _told(self, row: TaskRow, run: Run) -> RowChange | str:
        bus.emit(TaskStarted, run)
        ending = self._attempt(row)
        if ending is None:
            bus.emit(TaskCompleted, run, self.ended - self.started)
            return COMPLETED
        self._tell(ending, run)
        return ending.outcome

    def _tell(self, ending: Ending, run: Run) -> None:
        if ending.event is not None:
            bus.emit(ending.event, run, self.seconds, *ending.values)

    def _attempt(self, row: TaskRow) -> Ending | None:
        """Run the task; return ``None`` if it completed and is to be settled as that."""
        try:
            return self._run(row)
        except Exception as error:  # an exception of the task's that cannot be asked what it wants
            return _failed(row, REASON_ERROR, error)
        finally:
            self.ended = monotonic()

    def _run(self, row: TaskRow) -> Ending | None:
        processor_class = None
        try:
            processor_class = registry.processor_class(row[PROCESSOR])
            args, kwargs = arguments.decode(row[ARGUMENTS])
            processor = processor_class(*args, **kwargs)
            processor._row = row
            if processor_class.ATOMIC:
                return self._run_with_settlement(processor, row)
            processor.run()
        except PostponeTask as request:
            return self._postponed(row, processor_class, request)
        except ClaimLost:
            return Ending(CLAIM_LOST, None)
        except BaseException as error:  # SystemExit of a task's own making fails the task, not the worker
            return _errored(row, processor_class, error)
        return None

    def _run_with_settlement(self, processor: BaseTaskProcessor, row: TaskRow) -> Ending:
        """Run and settle in one transaction: the task's writes and its completion stand or fall together."""
        database = task_database()
        with transaction.atomic(using=database):
            processor.run()
            pair = (row[ID], row[TOKEN])
            if settle_completed(connections[database], [pair], self._config.delete_tasks_on_complete):
                raise ClaimLost(
                    f"Task {row[ID]} was taken over while it ran; its transaction is rolled back."
                )
        return Ending(SETTLED, TaskCompleted)

    def _postponed(
        self, row: TaskRow, processor_class: type[BaseTaskProcessor] | None, request: PostponeTask
    ) -> Ending:
        delay = request.postpone_for_seconds
        if delay is None:
            delay = self._config.default_postpone_delay_seconds
        if not _is_delay(delay):
            wrong = ValueError(
                f"PostponeTask was raised with {delay!r}; "
                f"expected a number of seconds from 0 to {LONGEST_DELAY_SECONDS} (a hundred years)."
            )
            return _failed(row, REASON_ERROR, wrong)
        limit = self._config.default_postpones_count
        if processor_class is not None and processor_class.POSTPONE_CONFIG is not None:
            limit = processor_class.POSTPONE_CONFIG.max_postpones
        if limit is not None and row[POSTPONES] >= limit:
            reached = MaxPostponesReached(
                f"{row[PROCESSOR]}: postponed {row[POSTPONES]} times, which is the limit."
            )
            return _failed(row, REASON_MAX_POSTPONES, reached)
        outcome = RowChange(row[ID], row[TOKEN], STATUS_NEW, float(delay), postpones=1)
        return Ending(outcome, TaskPostponed, (float(delay), request.reason))


def _errored(row: TaskRow, processor_class: type[BaseTaskProcessor] | None, error: BaseException) -> Ending:
    if isinstance(error, ProcessorClassNotFound):
        return _failed(row, REASON_UNREGISTERED, error)
    config = processor_class.RETRY_ON_ERROR_CONFIG if processor_class is not None else None
    if config is None or not config.covers(error):
        return _failed(row, REASON_ERROR, error)
    retry = row[RETRIES] + 1
    if retry > config.retries_count:
        return _failed(row, REASON_RETRIES_EXHAUSTED, error)
    info = ErrorInfo.of(error)
    pause = min(float(config.pause_before(retry)), LONGEST_DELAY_SECONDS)
    outcome = _outcome(row, STATUS_NEW, info, delay=pause, retries=1)
    return Ending(outcome, TaskRetried, (pause, config.retries_count - retry, info))


def _failed(row: TaskRow, reason: str, error: BaseException) -> Ending:
    info = ErrorInfo.of(error)
    return Ending(_outcome(row, STATUS_ERROR, info, reason=reason), TaskFailed, (reason, info))


def _outcome(row: TaskRow, status: str, info: ErrorInfo, **more: Any) -> RowChange:
    return RowChange(
        row[ID],
        row[TOKEN],
        status,
        error_type=storable(info.type),
        error_message=storable(info.message),
        error_traceback=storable(info.stack_trace),
        **more,
    )


def storable(text: str) -> str:
    """Return ``text`` without what PostgreSQL cannot hold: NUL and lone surrogates."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def _is_delay(value: object) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= LONGEST_DELAY_SECONDS
    )


def _headers(context: str) -> dict[str, str] | None:
    """Return the carried context; one that is malformed is as none."""
    try:
        headers = json.loads(context)
    except ValueError:
        return None
    if not isinstance(headers, dict):
        return None
    return {key: value for key, value in headers.items() if isinstance(value, str)}


def _propagation(processor: str) -> str | None:
    processor_class = registry.registered().get(processor)
    return processor_class.TRACE_PROPAGATION if processor_class is not None else None


def _with_headers(outcome: RowChange | str) -> RowChange | str:
    """Let a task that runs again carry what the subscribers say about this run."""
    if isinstance(outcome, str) or outcome.status != STATUS_NEW:
        return outcome
    headers = bus.headers()
    return outcome._replace(context=json.dumps(headers)) if headers else outcome
