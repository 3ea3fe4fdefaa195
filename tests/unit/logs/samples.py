"""One event of every logged kind, once with every optional value and once without."""

from datetime import datetime, timezone
from typing import Any

from django_partisan import outcomes
from django_partisan.telemetry.events import (
    managers,
    operators,
    queues,
    runs,
    schedules,
    tasks,
    telemetry,
    workers,
)
from django_partisan.telemetry.events.values import ErrorInfo, LostRun, Run, TaskRef

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-03"
ARGUMENTS = '{"args": [1], "kwargs": {"password": "hunter2"}}'

TASK = TaskRef(12, "SendMail", "default", 10, 2, 1, 0)
TASK_OF_A_REQUEST = TASK._replace(headers={"traceparent": TRACEPARENT})
LOST = LostRun(1764500000.0, 1764500002.5, 3, 4, 0.25)
RUN = Run(12, "SendMail", "default", 10, 2, 1, 0, 3, 4, 0.25, {"traceparent": TRACEPARENT}, ARGUMENTS)
BARE_RUN = RUN._replace(headers=None, arguments=None)
ERROR = ErrorInfo("app.errors.Refused", "no such mailbox", "Traceback ...\napp.errors.Refused: no")
BARE_ERROR = ERROR._replace(stack_trace="")
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)

FULL: list[Any] = [
    tasks.TaskEnqueued(TASK, NOON, True, ARGUMENTS),
    tasks.TaskDeduplicated(TASK),
    queues.TasksEnqueued("default", "SendMail", 5, 2),
    tasks.TaskEnqueueFailed("default", "SendMail", 10, ERROR),
    queues.TasksClaimed("default", 2, (12, 13), 0.002, ()),
    runs.TaskStarted(RUN),
    runs.TaskCompleted(RUN, 0.5),
    runs.TaskPostponed(RUN, 0.5, 300.0, "the mailbox is full"),
    runs.TaskRetried(RUN, 0.5, 3.0, 2, ERROR),
    runs.TaskFailed(RUN, 0.5, outcomes.REASON_ERROR, ERROR),
    tasks.TaskRescued(
        TASK_OF_A_REQUEST, outcomes.REASON_MANAGER_LOST, "6c84fb90-12c4-11e1-840d-7b25c5ee775a", LOST
    ),
    workers.RunInterrupted(
        TASK_OF_A_REQUEST, 3, 4, 4711, outcomes.REASON_TIMEOUT, 30.0, "SendMail ran longer than 30 s."
    ),
    workers.WorkerKilled(TASK_OF_A_REQUEST, 3, 4, 4711, outcomes.REASON_TIMEOUT, 40.5),
    queues.TasksReleased("default", 5, outcomes.REASON_STOPPED),
    operators.TasksRequeued("default", "SendMail", 5),
    operators.TasksChanged("default", "SendMail", 5, outcomes.DUE_NOW),
    runs.TaskCancelled(RUN, 0.5, ERROR),
    operators.TasksCancelled("default", "SendMail", 2, "sent twice", (12, 13)),
    operators.CancelRequested("default", "SendMail", 2, "sent twice", (12, 13)),
    tasks.TaskExpired(TASK_OF_A_REQUEST),
    queues.TasksHeld("default", "SendMail", 5, outcomes.REASON_UNREGISTERED),
    queues.TasksResumed("default", "SendMail", 1, outcomes.REASON_UNREGISTERED),
    queues.PrunePassEnded("default", 1500, 1, 3.0),
    queues.PruneFailed("default", ERROR),
    tasks.TaskClaimLost(TASK_OF_A_REQUEST),
    runs.TransactionLeftOpen(RUN, "default", "bookkeeping"),
    runs.WrittenOutsideAtomic(RUN, "bookkeeping"),
    queues.SettleFailed("default", 5, ERROR),
    managers.LeaseLost("default", 31.0, 7),
    queues.ClaimFailed("default", ERROR),
    managers.DatabaseRestored("default", 3, 12.0),
    operators.QueuePaused("default", "2026-11-29T18:00:00Z", "the mail server moves", "ada@web-1"),
    operators.QueueResumed("default", 3600.0),
    schedules.ScheduleTicked("nightly", "SendMail", "default", NOON, 12, "enqueued", 0.25),
    schedules.ScheduleSkipped("nightly", "SendMail", "default", NOON, 12),
    schedules.ScheduleMissed("nightly", "SendMail", 3, NOON),
    schedules.ScheduleFailed("nightly", "SendMail", NOON, ERROR),
    schedules.ScheduleOperationFailed("default", outcomes.OPERATION_COMPARE, "nightly", ERROR),
    schedules.ScheduleChanged("nightly", "SendMail", "settings", outcomes.SCHEDULE_ADDED, NOON),
    schedules.SchedulePaused("nightly", "the mail server moves"),
    schedules.ScheduleResumed("nightly", NOON),
    workers.WorkerStarted("default", 3, 4, 4711),
    workers.WorkerStartFailed("default", 3, ERROR),
    workers.WorkerReady("default", 3, 4, 4711, ("nothing was preloaded",)),
    workers.WorkerExited(
        "default", 3, 4, 4711, -9, "SIGKILL", outcomes.REASON_SIGNAL, TASK_OF_A_REQUEST, 2**20
    ),
    telemetry.TelemetryFlushTimedOut("default", 5.0),
    workers.ExitTimedOut("default", 5.0),
    managers.ManagerStarted("default", 4, "2.0.0", "127.0.0.1:9100"),
    managers.ManagerDraining("default", "SIGTERM", 3),
    managers.ManagerStopped("default", 60.0, 5, (12, 13)),
    managers.CodeReplaced("default", "2.1.0", 4, "2.0.0", 3),
    managers.ProcessorsIgnored("default", 10_000),
    managers.ThreadStack("MainThread", "select selectors.py:468 < turn manager/manager.py:111"),
    telemetry.TelemetryDropped("default", "span_queue_full", 8),
    telemetry.MetricsServerFailed("default", ERROR),
    telemetry.MetricsPortTaken("default", 9464, "mail"),
    telemetry.MetricsServed("default", "http://127.0.0.1:9464"),
    telemetry.MetricsDatabaseFailed("default", ERROR),
]

BARE: list[Any] = [
    tasks.TaskEnqueued(TASK, NOON, False),
    queues.TasksEnqueued(None, None, 1, 0),
    tasks.TaskEnqueueFailed("default", "", None, BARE_ERROR),
    runs.TaskStarted(BARE_RUN),
    runs.TaskCompleted(BARE_RUN, 0.5),
    runs.TaskPostponed(BARE_RUN, 0.5, 300.0, None),
    runs.TaskRetried(TASK, 0.5, 3.0, 1, BARE_ERROR),
    runs.TaskFailed(TASK, None, outcomes.REASON_WORKER_LOST, BARE_ERROR),
    runs.TaskCancelled(TASK, None, BARE_ERROR),
    operators.TasksCancelled("default", "SendMail", 1, "", (12,)),
    operators.CancelRequested("default", "SendMail", 1, "", (12,)),
    tasks.TaskRescued(TASK, outcomes.REASON_STOPPED, None),
    runs.TransactionLeftOpen(BARE_RUN, "default"),
    runs.WrittenOutsideAtomic(BARE_RUN, "bookkeeping"),
    queues.PrunePassEnded("default", 0, 0, 0.0),
    queues.PruneFailed("default", BARE_ERROR),
    queues.SettleFailed("default", 1, BARE_ERROR),
    queues.ClaimFailed("default", BARE_ERROR),
    *(
        schedules.ScheduleOperationFailed("default", operation, None, BARE_ERROR)
        for operation in outcomes.SCHEDULE_OPERATIONS
    ),
    workers.WorkerReady("default", 3, 4, 4711, ()),
    workers.WorkerExited("default", 3, 4, 4711, None, None, outcomes.REASON_RECYCLED, None, None),
    managers.ManagerStarted("default", 4, "2.0.0", None),
    managers.ManagerDraining("default", None, 1),
    managers.ManagerStopped("default", 60.0, 0, ()),
    telemetry.MetricsServerFailed("default", BARE_ERROR),
    telemetry.MetricsDatabaseFailed("default", BARE_ERROR),
]
