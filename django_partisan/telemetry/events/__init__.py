"""All events that the core emits, about tasks, runs, queues, schedules, processes and telemetry itself.

Events are immutable, contain plain values, and are named in the past tense. Durations are in seconds. They
are named tuples rather than dataclasses because they are created for every task, at a third of the cost. To
add an event, add a class to the module of its subject and its name to the union below.
"""

from typing import TypeAlias

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

Event: TypeAlias = (
    tasks.TaskEnqueued
    | tasks.TaskDeduplicated
    | tasks.TaskEnqueueFailed
    | tasks.TaskClaimLost
    | tasks.TaskRescued
    | tasks.TaskExpired
    | runs.TaskStarted
    | runs.TaskCompleted
    | runs.RunsCompleted
    | runs.TaskPostponed
    | runs.TaskRetried
    | runs.TaskFailed
    | runs.TaskCancelled
    | runs.TransactionLeftOpen
    | runs.WrittenOutsideAtomic
    | runs.MetricRecorded
    | queues.TasksEnqueued
    | queues.TasksClaimed
    | queues.PollFoundNothing
    | queues.ClaimFailed
    | queues.ClaimErrored
    | queues.TasksReleased
    | queues.OutcomesSettled
    | queues.SettleFailed
    | queues.SettleErrored
    | queues.TasksHeld
    | queues.TasksResumed
    | queues.TasksPruned
    | queues.PrunePassEnded
    | queues.PruneFailed
    | operators.TasksRequeued
    | operators.TasksChanged
    | operators.TasksCancelled
    | operators.CancelRequested
    | operators.QueuePaused
    | operators.QueueResumed
    | schedules.ScheduleTicked
    | schedules.ScheduleSkipped
    | schedules.ScheduleMissed
    | schedules.ScheduleFailed
    | schedules.ScheduleOperationFailed
    | schedules.ScheduleChanged
    | schedules.SchedulePaused
    | schedules.ScheduleResumed
    | workers.WorkerStarted
    | workers.WorkerStartFailed
    | workers.WorkerReady
    | workers.WorkerExited
    | workers.WorkerStopping
    | workers.ExitTimedOut
    | workers.RunInterrupted
    | workers.WorkerKilled
    | managers.ManagerStarted
    | managers.ManagerDraining
    | managers.ManagerStopped
    | managers.CodeReplaced
    | managers.ProcessorsIgnored
    | managers.ThreadStack
    | managers.LeaseLost
    | managers.DatabaseRestored
    | telemetry.TelemetryFlushTimedOut
    | telemetry.PipeBroken
    | telemetry.TelemetryDropped
    | telemetry.MetricsUnknown
    | telemetry.MetricsServerFailed
    | telemetry.MetricsPortTaken
    | telemetry.MetricsServed
    | telemetry.MetricsDatabaseFailed
)
