"""The outcomes of runs, and the reasons why tasks fail or are rescued and why workers exit.

They are used in log events, metrics, spans, signals and rows; each is defined only here.
"""

from typing import Final

COMPLETED: Final = "completed"
POSTPONED: Final = "postponed"
RETRIED: Final = "retried"
FAILED: Final = "failed"
OUTCOMES: Final = (COMPLETED, POSTPONED, RETRIED, FAILED)

CANCELLED: Final = "cancelled"
"""In telemetry, the outcome of a run whose task was cancelled while it ran; in its row, the task failed."""

CRASHED: Final = "crashed"
"""In the history of a task: the worker died during the run, and the task ran again."""

REQUEUED: Final = "requeued"
"""In the history of a task: an operator made the failed task wait again."""

# Other actions of operators on tasks. The first two are also in the history of a task.
DUE_NOW: Final = "due_now"
PRIORITIZED: Final = "prioritized"
DELETED: Final = "deleted"
CHANGES: Final = (DUE_NOW, PRIORITIZED, DELETED)

# What happened to a schedule when managers compared its row with their settings.
SCHEDULE_ADDED: Final = "added"
SCHEDULE_CHANGED: Final = "changed"
SCHEDULE_STOPPED: Final = "stopped"
SCHEDULE_RESTARTED: Final = "restarted"
SCHEDULE_REMOVED: Final = "removed"
SCHEDULE_CHANGES: Final = (
    SCHEDULE_ADDED,
    SCHEDULE_CHANGED,
    SCHEDULE_STOPPED,
    SCHEDULE_RESTARTED,
    SCHEDULE_REMOVED,
)

# A manager's operations on schedules.
OPERATION_COMPARE: Final = "compare"
OPERATION_ENQUEUE: Final = "enqueue"
OPERATION_LOOK_UP: Final = "look_up"
SCHEDULE_OPERATIONS: Final = (OPERATION_COMPARE, OPERATION_ENQUEUE, OPERATION_LOOK_UP)

# Why a task failed. ``error`` is also the exit reason of a worker.
REASON_ERROR: Final = "error"
REASON_RETRIES_EXHAUSTED: Final = "retries_exhausted"
REASON_MAX_POSTPONES: Final = "max_postpones"
REASON_UNREGISTERED: Final = "unregistered"
REASON_WORKER_LOST: Final = "worker_lost"
REASON_TIMEOUT: Final = "timeout"
REASON_UNSETTLEABLE: Final = "unsettleable"
REASON_RESULT_NOT_JSON: Final = "result_not_json"
REASON_RESULT_TOO_LARGE: Final = "result_too_large"
FAILURE_REASONS: Final = (
    REASON_ERROR,
    REASON_RETRIES_EXHAUSTED,
    REASON_MAX_POSTPONES,
    REASON_UNREGISTERED,
    REASON_WORKER_LOST,
    REASON_TIMEOUT,
    REASON_UNSETTLEABLE,
    REASON_RESULT_NOT_JSON,
    REASON_RESULT_TOO_LARGE,
)

# Why a task was ended without a failure of its own. Such tasks are requeued only if the reason is named.
REASON_CANCELLED: Final = "cancelled"
REASON_EXPIRED: Final = "expired"
REASONS_TO_NAME: Final = (REASON_CANCELLED, REASON_EXPIRED)

# Why waiting tasks are held.
HELD_REASONS: Final = (REASON_UNREGISTERED,)

# Why a task was rescued (``stopped``: because of a forced stop), or a worker exited.
REASON_MANAGER_LOST: Final = "manager_lost"
REASON_STOPPED: Final = "stopped"
# Why unstarted tasks were released, other than ``stopped``. ``shared``: the manager holds too many, or the
# tasks take longer than expected, so that another manager may start them earlier. ``paused``: the queue is.
REASON_SHARED: Final = "shared"
REASON_PAUSED: Final = "paused"
REASON_RECYCLED: Final = "recycled"
REASON_SIGNAL: Final = "signal"
