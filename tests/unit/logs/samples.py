"""One fact of every kind that is logged, once with everything that may be known and once without."""

from datetime import datetime, timezone
from typing import Any

from django_partisan import facts

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-03"
ARGUMENTS = '{"args": [1], "kwargs": {"password": "hunter2"}}'

TASK = facts.TaskRef(12, "SendMail", "default", 10, 2, 1, 0)
RUN = facts.Run(12, "SendMail", "default", 10, 2, 1, 0, 3, 4, 0.25, {"traceparent": TRACEPARENT}, ARGUMENTS)
BARE_RUN = RUN._replace(headers=None, arguments=None)
ERROR = facts.ErrorInfo("app.errors.Refused", "no such mailbox", "Traceback ...\napp.errors.Refused: no")
BARE_ERROR = ERROR._replace(stack_trace="")
NOON = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)

FULL: list[Any] = [
    facts.TaskEnqueued(TASK, NOON, True, ARGUMENTS),
    facts.TaskDeduplicated(TASK),
    facts.TaskEnqueueFailed("default", "SendMail", 10, ERROR),
    facts.TasksClaimed("default", 2, (12, 13), 0.002, ()),
    facts.TaskStarted(RUN),
    facts.TaskCompleted(RUN, 0.5),
    facts.TaskPostponed(RUN, 0.5, 300.0, "the mailbox is full"),
    facts.TaskRetried(RUN, 0.5, 3.0, 2, ERROR),
    facts.TaskFailed(RUN, 0.5, facts.REASON_ERROR, ERROR),
    facts.TaskRescued(TASK, facts.REASON_MANAGER_LOST, "6c84fb90-12c4-11e1-840d-7b25c5ee775a"),
    facts.TasksReleased("default", 5, facts.REASON_STOPPED),
    facts.TaskClaimLost(TASK),
    facts.TransactionLeftOpen(RUN, "default"),
    facts.SettleFailed("default", 5, ERROR),
    facts.LeaseLost("default", 31.0, 7),
    facts.ClaimFailed("default", ERROR),
    facts.DatabaseRestored("default", 3, 12.0),
    facts.WorkerStarted("default", 3, 4, 4711),
    facts.WorkerStartFailed("default", 3, ERROR),
    facts.WorkerReady("default", 3, 4, 4711, ("nothing was preloaded",)),
    facts.WorkerExited("default", 3, 4, 4711, -9, "SIGKILL", facts.REASON_SIGNAL, TASK, 2**20),
    facts.TelemetryFlushTimedOut("default", 3, 4, 5.0),
    facts.ManagerStarted("default", 4, "2.0.0", "127.0.0.1:9100"),
    facts.ManagerDraining("default", "SIGTERM", 3),
    facts.ManagerStopped("default", 60.0, 5, (12, 13)),
    facts.TelemetryDropped("default", "span_queue_full", 8),
    facts.MetricsServerFailed("default", ERROR),
    facts.MetricsDatabaseFailed("default", ERROR),
]

BARE: list[Any] = [
    facts.TaskEnqueued(TASK, NOON, False),
    facts.TaskEnqueueFailed("default", "", None, BARE_ERROR),
    facts.TaskStarted(BARE_RUN),
    facts.TaskCompleted(BARE_RUN, 0.5),
    facts.TaskPostponed(BARE_RUN, 0.5, 300.0, None),
    facts.TaskRetried(BARE_RUN, 0.5, 3.0, 1, BARE_ERROR),
    facts.TaskFailed(TASK, None, facts.REASON_WORKER_LOST, BARE_ERROR),
    facts.TaskRescued(TASK, facts.REASON_STOPPED, None),
    facts.TransactionLeftOpen(BARE_RUN, "default"),
    facts.SettleFailed("default", 1, BARE_ERROR),
    facts.ClaimFailed("default", BARE_ERROR),
    facts.WorkerReady("default", 3, 4, 4711, ()),
    facts.WorkerExited("default", 3, 4, 4711, None, None, facts.REASON_RECYCLED, None, None),
    facts.ManagerStarted("default", 4, "2.0.0", None),
    facts.ManagerDraining("default", None, 1),
    facts.ManagerStopped("default", 60.0, 0, ()),
    facts.MetricsServerFailed("default", BARE_ERROR),
    facts.MetricsDatabaseFailed("default", BARE_ERROR),
]
