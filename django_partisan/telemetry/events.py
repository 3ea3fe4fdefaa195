"""Every event that the core emits: of tasks, of workers, of managers and of their telemetry.

Events are frozen, hold plain values, and are named in the past tense. Durations are in seconds.
Named tuples rather than dataclasses: they are made for every task, and cost a third.
A new event is a class here and a name in ``Event``.
"""

import traceback
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypeAlias

from django_partisan.outcomes import COMPLETED, FAILED, POSTPONED, RETRIED


class TaskRef(NamedTuple):
    """The key numbers of a task's row at this moment. ``attempt`` counts runs from 1.

    ``headers`` are those in the row; only events that a manager emits about one task have them.
    """

    id: int
    processor: str
    queue: str
    priority: int
    attempt: int
    retries: int
    postpones: int
    headers: Mapping[str, str] | None = None


class Run(NamedTuple):
    """One run of a task: the task, the worker that runs it, and how long it was due before it started."""

    id: int
    processor: str
    queue: str
    priority: int
    attempt: int
    retries: int
    postpones: int
    slot: int
    generation: int
    wait_seconds: float
    headers: Mapping[str, str] | None
    arguments: str | None = None
    """The stored JSON text; shown nowhere unless ``LOG_TASK_ARGS`` asks for it."""


class LostRun(NamedTuple):
    """What a manager knows of a run that ended with its worker; ``*_at`` are Unix timestamps.

    If the worker was another manager's, ``began_at`` is when its row says that the run began or, if the
    row does not, when the task was claimed; the rest is not known.
    """

    began_at: float
    ended_at: float
    slot: int | None = None
    generation: int | None = None
    wait_seconds: float | None = None


class ErrorInfo(NamedTuple):
    """Describe an exception by its qualified class name, its message and its traceback.

    Lone surrogates, which no log, collector or database could take, are replaced by ``?``. ``exception`` is
    for handlers of the host, such as error trackers; it refers to the frames of the run, so it is not kept.
    """

    type: str
    message: str
    stack_trace: str
    exception: BaseException | None = None

    @classmethod
    def of(cls, error: BaseException) -> "ErrorInfo":
        """Describe ``error``; an error that cannot even describe itself is described by its class."""
        kind = type(error)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        try:
            text, trace = str(error), "".join(traceback.format_exception(error))
            return cls(name, _whole(text), _whole(trace), error)
        except Exception as second:
            return cls(name, f"<no message: {type(second).__name__} raised by its __str__>", "", error)


def _whole(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


# Scopes: what ``Subscriber.around()`` is entered for.


class Enqueueing:
    """One call of ``delay()`` or ``bulk_delay()``; the core sets the attributes as they become known."""

    __slots__ = ("count", "deduplicated", "processor", "queue", "task_id", "task_ids")

    def __init__(self, queue: str, processor: str | None, count: int = 1) -> None:
        self.queue = queue
        self.processor = processor
        self.count = count
        self.task_id: int | None = None
        self.task_ids: Sequence[int] = ()
        self.deduplicated = False


class Ticking:
    """A batch of ticks for which a manager enqueues tasks; ``number`` of them, set when it is known."""

    __slots__ = ("number", "queue")

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.number = 0


class Running(NamedTuple):
    """One run, from before it starts until its outcome was emitted."""

    run: Run
    propagation: str | None
    """The processor's own ``TRACE_PROPAGATION``, if it has one."""


Scope: TypeAlias = Enqueueing | Ticking | Running


# A task's life.


class TaskEnqueued(NamedTuple):
    """``in_bulk`` is true for a task of a ``bulk_delay()``, for which there is one ``TasksEnqueued`` too."""

    task: TaskRef
    due_at: datetime
    scheduled: bool
    arguments: str | None = None
    in_bulk: bool = False


class TaskDeduplicated(NamedTuple):
    task: TaskRef
    in_bulk: bool = False


class TasksEnqueued(NamedTuple):
    """One ``bulk_delay()``; ``queue`` and ``processor`` are ``None`` if its tasks have several."""

    queue: str | None
    processor: str | None
    number: int
    deduplicated: int


class TaskEnqueueFailed(NamedTuple):
    queue: str
    processor: str
    priority: int | None
    error: ErrorInfo


class TasksClaimed(NamedTuple):
    """A claim returned ``number`` tasks, perhaps 0. At most 100 ids are named.

    ``contexts`` are the carried contexts, as JSON text, of those of its tasks that have one.
    """

    queue: str
    number: int
    task_ids: tuple[int, ...]
    seconds: float
    contexts: tuple[str, ...]


class TaskStarted(NamedTuple):
    run: Run


class TaskCompleted(NamedTuple):
    run: Run
    seconds: float


class RunsCompleted(NamedTuple):
    """Runs of one processor completed: emitted once a report, for subscribers that only count.

    A run is in one ``RunsCompleted`` and, where a subscriber wants it, in one ``TaskCompleted``.
    """

    queue: str
    processor: str
    seconds: list[float]
    waits_seconds: list[float]
    attempts: list[int]


class TaskPostponed(NamedTuple):
    run: Run
    seconds: float
    delay_seconds: float
    reason: str | None


class TaskRetried(NamedTuple):
    """In a manager, which killed the worker, ``run`` is a ``TaskRef``, and ``lost`` is the run."""

    run: Run | TaskRef
    seconds: float
    delay_seconds: float
    retries_left: int
    error: ErrorInfo
    lost: LostRun | None = None


class TaskFailed(NamedTuple):
    """``reason`` is one of ``outcomes.FAILURE_REASONS`` or ``outcomes.REASONS_TO_NAME``.

    ``seconds`` is ``None`` if no run ended.

    In a manager ``run`` is a ``TaskRef``; ``lost`` is the run with which the task failed, if any.
    """

    run: Run | TaskRef
    seconds: float | None
    reason: str
    error: ErrorInfo
    lost: LostRun | None = None


class TaskCancelled(NamedTuple):
    """A run ended because somebody cancelled its task; ``lost`` is the run if it ended with its worker.

    In a manager ``run`` is a ``TaskRef``.
    """

    run: Run | TaskRef
    seconds: float | None
    error: ErrorInfo
    lost: LostRun | None = None


class TaskRescued(NamedTuple):
    """A task will run again; ``lost`` is its run, if it is known to have begun."""

    task: TaskRef
    reason: str
    previous_manager: str | None
    lost: LostRun | None = None


class TasksReleased(NamedTuple):
    queue: str
    number: int
    reason: str


class TasksRequeued(NamedTuple):
    """``number`` failed tasks of a processor wait again, as somebody asked."""

    queue: str
    processor: str
    number: int


class TasksChanged(NamedTuple):
    """``number`` tasks of a processor were changed, as somebody asked; ``change`` is one of ``CHANGES``."""

    queue: str
    processor: str
    number: int
    change: str


class TasksCancelled(NamedTuple):
    """``number`` tasks of a processor ended without a run, as somebody asked; at most 100 ids are named."""

    queue: str
    processor: str
    number: int
    comment: str
    task_ids: tuple[int, ...]


class TaskExpired(NamedTuple):
    """A task ended without a run, because it had not started when it expired."""

    task: TaskRef


class CancelRequested(NamedTuple):
    """Somebody asked to end ``number`` tasks of a processor that managers hold; at most 100 ids are named."""

    queue: str
    processor: str
    number: int
    comment: str
    task_ids: tuple[int, ...]


class TasksHeld(NamedTuple):
    """``number`` tasks of a processor were held since the last such event; ``reason`` says why."""

    queue: str
    processor: str
    number: int
    reason: str


class TasksResumed(NamedTuple):
    """``number`` tasks of a processor that were held for ``reason`` wait for a claim again."""

    queue: str
    processor: str
    number: int
    reason: str


class QueuePaused(NamedTuple):
    """A manager has found its queue paused; ``until`` is of ISO 8601, ``None`` for no end."""

    queue: str
    until: str | None
    comment: str
    by: str


class QueueResumed(NamedTuple):
    """A manager has found its queue no longer paused, after ``seconds``."""

    queue: str
    seconds: float


class ScheduleTicked(NamedTuple):
    """A schedule has enqueued ``task_id``, or found its duplicate; ``outcome`` says which."""

    schedule: str
    processor: str
    queue: str
    scheduled_for: datetime
    task_id: int
    outcome: str
    lateness_seconds: float


class ScheduleSkipped(NamedTuple):
    """A tick was skipped, because the last task of the schedule, ``task_id``, still waits or runs."""

    schedule: str
    processor: str
    queue: str
    scheduled_for: datetime
    task_id: int


class ScheduleMissed(NamedTuple):
    """``number`` ticks up to the one at ``newest_at`` were not enqueued, because they were too late."""

    schedule: str
    processor: str
    number: int
    newest_at: datetime


class ScheduleFailed(NamedTuple):
    """The tick of a schedule cannot be enqueued; emitted once for each error, not for each try."""

    schedule: str
    processor: str
    scheduled_for: datetime
    error: ErrorInfo


class ScheduleOperationFailed(NamedTuple):
    """An operation on schedules failed in a manager of ``queue``, on all or on ``schedule``; it tries again.

    Emitted once for each error, not for each try. ``operation`` is one of ``outcomes.SCHEDULE_OPERATIONS``.
    """

    queue: str
    operation: str
    schedule: str | None
    error: ErrorInfo


class ScheduleChanged(NamedTuple):
    """A schedule was written; ``change`` is one of ``outcomes.SCHEDULE_CHANGES``."""

    schedule: str
    processor: str
    origin: str
    change: str
    next_at: datetime | None


class SchedulePaused(NamedTuple):
    schedule: str
    comment: str


class ScheduleResumed(NamedTuple):
    schedule: str
    next_at: datetime | None


class TasksPruned(NamedTuple):
    """A batch of ``number`` rows of a queue and status was deleted, because their tasks ended long ago."""

    queue: str
    status: str
    number: int


class PrunePassEnded(NamedTuple):
    """A manager of ``queue`` has walked the table for rows to prune, of all queues, or left it to others."""

    queue: str
    finished: int
    failed: int
    seconds: float


class PruneFailed(NamedTuple):
    """Rows cannot be pruned; emitted once, not for each try."""

    queue: str
    error: ErrorInfo


class TaskClaimLost(NamedTuple):
    task: TaskRef


class OutcomesSettled(NamedTuple):
    """A batch was written; ``contexts`` as in ``TasksClaimed``, of the completed tasks."""

    queue: str
    number: int
    seconds: float
    contexts: tuple[str, ...]
    task_ids: tuple[int, ...] = ()


class SettleFailed(NamedTuple):
    """Outcomes cannot be written; emitted once, not for each try."""

    queue: str
    number: int
    error: ErrorInfo


class SettleErrored(NamedTuple):
    """A settle statement failed; emitted for each."""

    queue: str


# A worker's life.


class WorkerStarted(NamedTuple):
    queue: str
    slot: int
    generation: int
    pid: int


class WorkerStartFailed(NamedTuple):
    """A worker process could not be started; its slot is tried again after growing pauses."""

    queue: str
    slot: int
    error: ErrorInfo


class WorkerReady(NamedTuple):
    queue: str
    slot: int
    generation: int
    pid: int
    warnings: tuple[str, ...]


class WorkerExited(NamedTuple):
    queue: str
    slot: int
    generation: int
    pid: int
    exit_code: int | None
    signal: str | None
    reason: str
    task: TaskRef | None
    peak_resident_bytes: int | None


class WorkerStopping(NamedTuple):
    """A worker has run its last task and will end."""

    queue: str
    slot: int
    generation: int


class RunInterrupted(NamedTuple):
    """A worker was asked to interrupt a run, which has lasted ``seconds``; ``reason`` says why."""

    task: TaskRef
    slot: int
    generation: int
    pid: int
    reason: str
    seconds: float
    comment: str


class WorkerKilled(NamedTuple):
    """A worker was killed, because an interrupted run had not ended ``INTERRUPT_GRACE_SECONDS`` later."""

    task: TaskRef
    slot: int
    generation: int
    pid: int
    reason: str
    seconds: float


class TransactionLeftOpen(NamedTuple):
    """A run left a transaction open on ``database``, an alias; it was rolled back.

    If ``thread`` names another thread, the transaction is still open there.
    """

    run: Run
    database: str
    thread: str | None = None


class WrittenOutsideAtomic(NamedTuple):
    """During a run with ``ATOMIC`` another thread wrote to the tasks' database, on its own connection."""

    run: Run
    thread: str


class TelemetryFlushTimedOut(NamedTuple):
    queue: str
    seconds: float


class ExitTimedOut(NamedTuple):
    """Receivers of ``worker_stopping`` or exit handlers did not return; the worker ends without them."""

    queue: str
    seconds: float


class PipeBroken(NamedTuple):
    """A worker's message was incomplete or unreadable; its pipe is closed."""

    queue: str
    slot: int
    reason: str


# A manager's life.


class ManagerStarted(NamedTuple):
    queue: str
    workers: int
    version: str
    metrics_address: str | None


class ManagerDraining(NamedTuple):
    queue: str
    signal: str | None
    in_progress: int


class ManagerStopped(NamedTuple):
    queue: str
    seconds: float
    released: int
    unfinished: tuple[int, ...]


class CodeReplaced(NamedTuple):
    """A new worker runs another version of the library than its manager, which drains."""

    queue: str
    worker_version: str
    worker_protocol: int
    manager_version: str
    manager_protocol: int


class ProcessorsIgnored(NamedTuple):
    """Workers have registered more than ``limit`` processors that the manager has not; emitted once."""

    queue: str
    limit: int


class ThreadStack(NamedTuple):
    """The current stack of a thread of this process, as one line, innermost call first."""

    thread: str
    stack: str


class LeaseLost(NamedTuple):
    queue: str
    seconds_since_heartbeat: float
    held: int


class ClaimFailed(NamedTuple):
    """Claims began to fail or to wait for a database that does not answer; emitted once, not for each."""

    queue: str
    error: ErrorInfo


class ClaimErrored(NamedTuple):
    """A claim failed, or a look or heartbeat that claims wait for; emitted for each."""

    queue: str


class PolledInVain(NamedTuple):
    """A look of an idle manager found nothing to claim: an empty poll, like a claim without rows."""

    queue: str


class DatabaseRestored(NamedTuple):
    queue: str
    failures: int
    seconds: float


class TelemetryDropped(NamedTuple):
    queue: str
    reason: str
    number: int


class Measured(NamedTuple):
    """A run added ``value`` to a counter or a histogram of its processor's; ``name`` is the exported one."""

    queue: str
    processor: str
    name: str
    labels: tuple[str, ...]
    value: float


class MetricsUnknown(NamedTuple):
    """A worker's report had ``number`` series of metrics that its manager does not know."""

    queue: str
    number: int


class MetricsServerFailed(NamedTuple):
    queue: str
    error: ErrorInfo


class MetricsPortTaken(NamedTuple):
    """A manager of the queue ``holder`` holds the port; metrics are served when it is free."""

    queue: str
    port: int
    holder: str


class MetricsServed(NamedTuple):
    """The port is free, and metrics are served."""

    queue: str
    address: str


class MetricsDatabaseFailed(NamedTuple):
    queue: str
    error: ErrorInfo


class WorkerSeen(NamedTuple):
    """A worker at the moment of a snapshot; ``task`` is what it has run for ``run_age_seconds``."""

    slot: int
    generation: int
    pid: int
    state: str
    task: TaskRef | None
    run_age_seconds: float
    busy_seconds: float


class QueueLimits(NamedTuple):
    """Settings of the queue that alerts compare figures with; ``None`` if there is no such limit."""

    max_wait_seconds: float | None
    max_crashes: int
    timeout_seconds: float | None
    interrupt_grace_seconds: float


class Snapshot(NamedTuple):
    """The manager's state at one moment, for gauges and probes. ``*_at`` are Unix timestamps."""

    queue: str
    workers_configured: int
    workers: tuple[WorkerSeen, ...]
    buffered: int
    buffer_limit: int
    unsettled: int
    draining: bool
    database_reachable: bool
    last_loop_at: float
    last_claim_at: float | None
    last_finished_at: float | None
    limits: QueueLimits
    paused_seconds: float | None = None
    """For how long the queue has been paused; ``None`` if it is not."""


Event: TypeAlias = (
    TaskEnqueued
    | TaskDeduplicated
    | TasksEnqueued
    | TaskEnqueueFailed
    | TasksClaimed
    | TaskStarted
    | TaskCompleted
    | RunsCompleted
    | TaskPostponed
    | TaskRetried
    | TaskFailed
    | TaskRescued
    | TasksReleased
    | TasksRequeued
    | TasksChanged
    | TaskCancelled
    | TasksCancelled
    | TaskExpired
    | CancelRequested
    | TasksHeld
    | TasksResumed
    | QueuePaused
    | QueueResumed
    | ScheduleTicked
    | ScheduleSkipped
    | ScheduleMissed
    | ScheduleFailed
    | ScheduleOperationFailed
    | ScheduleChanged
    | SchedulePaused
    | ScheduleResumed
    | TasksPruned
    | PrunePassEnded
    | PruneFailed
    | TaskClaimLost
    | OutcomesSettled
    | SettleFailed
    | SettleErrored
    | WorkerStarted
    | WorkerStartFailed
    | WorkerReady
    | WorkerExited
    | RunInterrupted
    | WorkerKilled
    | TransactionLeftOpen
    | WrittenOutsideAtomic
    | WorkerStopping
    | TelemetryFlushTimedOut
    | ExitTimedOut
    | PipeBroken
    | ManagerStarted
    | ManagerDraining
    | ManagerStopped
    | CodeReplaced
    | ProcessorsIgnored
    | ThreadStack
    | LeaseLost
    | ClaimFailed
    | ClaimErrored
    | PolledInVain
    | DatabaseRestored
    | TelemetryDropped
    | Measured
    | MetricsUnknown
    | MetricsServerFailed
    | MetricsPortTaken
    | MetricsServed
    | MetricsDatabaseFailed
)

OUTCOME_OF: Final[dict[type, str]] = {
    TaskCompleted: COMPLETED,
    TaskPostponed: POSTPONED,
    TaskRetried: RETRIED,
    TaskFailed: FAILED,
    TaskCancelled: FAILED,
}
"""The outcome that each event of a run's end stands for."""
