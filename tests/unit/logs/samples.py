"""One event of every kind that is logged, once with everything that may be known and once without."""

from datetime import datetime, timezone
from typing import Any

from django_partisan import outcomes
from django_partisan.telemetry import events

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-03"
ARGUMENTS = '{"args": [1], "kwargs": {"password": "hunter2"}}'

TASK = events.TaskRef(12, "SendMail", "default", 10, 2, 1, 0)
TASK_OF_A_REQUEST = TASK._replace(headers={"traceparent": TRACEPARENT})
LOST = events.LostRun(1764500000.0, 1764500002.5, 3, 4, 0.25)
RUN = events.Run(12, "SendMail", "default", 10, 2, 1, 0, 3, 4, 0.25, {"traceparent": TRACEPARENT}, ARGUMENTS)
BARE_RUN = RUN._replace(headers=None, arguments=None)
ERROR = events.ErrorInfo("app.errors.Refused", "no such mailbox", "Traceback ...\napp.errors.Refused: no")
BARE_ERROR = ERROR._replace(stack_trace="")
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)

FULL: list[Any] = [
    events.TaskEnqueued(TASK, NOON, True, ARGUMENTS),
    events.TaskDeduplicated(TASK),
    events.TasksEnqueued("default", "SendMail", 5, 2),
    events.TaskEnqueueFailed("default", "SendMail", 10, ERROR),
    events.TasksClaimed("default", 2, (12, 13), 0.002, ()),
    events.TaskStarted(RUN),
    events.TaskCompleted(RUN, 0.5),
    events.TaskPostponed(RUN, 0.5, 300.0, "the mailbox is full"),
    events.TaskRetried(RUN, 0.5, 3.0, 2, ERROR),
    events.TaskFailed(RUN, 0.5, outcomes.REASON_ERROR, ERROR),
    events.TaskRescued(
        TASK_OF_A_REQUEST, outcomes.REASON_MANAGER_LOST, "6c84fb90-12c4-11e1-840d-7b25c5ee775a", LOST
    ),
    events.RunInterrupted(
        TASK_OF_A_REQUEST, 3, 4, 4711, outcomes.REASON_TIMEOUT, 30.0, "SendMail ran longer than 30 s."
    ),
    events.WorkerKilled(TASK_OF_A_REQUEST, 3, 4, 4711, outcomes.REASON_TIMEOUT, 40.5),
    events.TasksReleased("default", 5, outcomes.REASON_STOPPED),
    events.TasksRequeued("default", "SendMail", 5),
    events.TasksChanged("default", "SendMail", 5, outcomes.DUE_NOW),
    events.TaskCancelled(RUN, 0.5, ERROR),
    events.TasksCancelled("default", "SendMail", 2, "sent twice", (12, 13)),
    events.CancelRequested("default", "SendMail", 2, "sent twice", (12, 13)),
    events.TaskExpired(TASK_OF_A_REQUEST),
    events.TasksHeld("default", "SendMail", 5, outcomes.REASON_UNREGISTERED),
    events.TasksResumed("default", "SendMail", 1, outcomes.REASON_UNREGISTERED),
    events.PrunePassEnded("default", 1500, 1, 3.0),
    events.PruneFailed("default", ERROR),
    events.TaskClaimLost(TASK_OF_A_REQUEST),
    events.TransactionLeftOpen(RUN, "default", "bookkeeping"),
    events.WrittenOutsideAtomic(RUN, "bookkeeping"),
    events.SettleFailed("default", 5, ERROR),
    events.LeaseLost("default", 31.0, 7),
    events.ClaimFailed("default", ERROR),
    events.DatabaseRestored("default", 3, 12.0),
    events.QueuePaused("default", "2026-11-29T18:00:00Z", "the mail server moves", "ada@web-1"),
    events.QueueResumed("default", 3600.0),
    events.ScheduleTicked("nightly", "SendMail", "default", NOON, 12, "enqueued", 0.25),
    events.ScheduleSkipped("nightly", "SendMail", "default", NOON, 12),
    events.ScheduleMissed("nightly", "SendMail", 3, NOON),
    events.ScheduleFailed("nightly", "SendMail", NOON, ERROR),
    events.ScheduleOperationFailed("default", outcomes.OPERATION_COMPARE, "nightly", ERROR),
    events.ScheduleChanged("nightly", "SendMail", "settings", outcomes.SCHEDULE_ADDED, NOON),
    events.SchedulePaused("nightly", "the mail server moves"),
    events.ScheduleResumed("nightly", NOON),
    events.WorkerStarted("default", 3, 4, 4711),
    events.WorkerStartFailed("default", 3, ERROR),
    events.WorkerReady("default", 3, 4, 4711, ("nothing was preloaded",)),
    events.WorkerExited(
        "default", 3, 4, 4711, -9, "SIGKILL", outcomes.REASON_SIGNAL, TASK_OF_A_REQUEST, 2**20
    ),
    events.TelemetryFlushTimedOut("default", 5.0),
    events.ExitTimedOut("default", 5.0),
    events.ManagerStarted("default", 4, "2.0.0", "127.0.0.1:9100"),
    events.ManagerDraining("default", "SIGTERM", 3),
    events.ManagerStopped("default", 60.0, 5, (12, 13)),
    events.CodeReplaced("default", "2.1.0", 4, "2.0.0", 3),
    events.ProcessorsIgnored("default", 10_000),
    events.ThreadStack("MainThread", "select selectors.py:468 < turn manager/manager.py:111"),
    events.TelemetryDropped("default", "span_queue_full", 8),
    events.MetricsServerFailed("default", ERROR),
    events.MetricsPortTaken("default", 9464, "mail"),
    events.MetricsServed("default", "http://127.0.0.1:9464"),
    events.MetricsDatabaseFailed("default", ERROR),
]

BARE: list[Any] = [
    events.TaskEnqueued(TASK, NOON, False),
    events.TasksEnqueued(None, None, 1, 0),
    events.TaskEnqueueFailed("default", "", None, BARE_ERROR),
    events.TaskStarted(BARE_RUN),
    events.TaskCompleted(BARE_RUN, 0.5),
    events.TaskPostponed(BARE_RUN, 0.5, 300.0, None),
    events.TaskRetried(TASK, 0.5, 3.0, 1, BARE_ERROR),
    events.TaskFailed(TASK, None, outcomes.REASON_WORKER_LOST, BARE_ERROR),
    events.TaskCancelled(TASK, None, BARE_ERROR),
    events.TasksCancelled("default", "SendMail", 1, "", (12,)),
    events.CancelRequested("default", "SendMail", 1, "", (12,)),
    events.TaskRescued(TASK, outcomes.REASON_STOPPED, None),
    events.TransactionLeftOpen(BARE_RUN, "default"),
    events.WrittenOutsideAtomic(BARE_RUN, "bookkeeping"),
    events.PrunePassEnded("default", 0, 0, 0.0),
    events.PruneFailed("default", BARE_ERROR),
    events.SettleFailed("default", 1, BARE_ERROR),
    events.ClaimFailed("default", BARE_ERROR),
    *(
        events.ScheduleOperationFailed("default", operation, None, BARE_ERROR)
        for operation in outcomes.SCHEDULE_OPERATIONS
    ),
    events.WorkerReady("default", 3, 4, 4711, ()),
    events.WorkerExited("default", 3, 4, 4711, None, None, outcomes.REASON_RECYCLED, None, None),
    events.ManagerStarted("default", 4, "2.0.0", None),
    events.ManagerDraining("default", None, 1),
    events.ManagerStopped("default", 60.0, 0, ()),
    events.MetricsServerFailed("default", BARE_ERROR),
    events.MetricsDatabaseFailed("default", BARE_ERROR),
]
