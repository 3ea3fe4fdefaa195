"""The fields of each event, taken from its event."""

from typing import Any

from django_partisan.logs.fields import (
    IDS_MAX,
    add_arguments,
    nanoseconds,
    of_error,
    of_run,
    of_task,
    of_worker,
)
from django_partisan.telemetry import events, redaction

EXPECTED_EXITS = frozenset({events.REASON_RECYCLED, events.REASON_STOPPED})


def enqueued(event: events.TaskEnqueued) -> dict[str, Any]:
    fields = of_task(event.task)
    fields["partisan.task.due_at"] = event.due_at.isoformat()
    fields["partisan.task.scheduled"] = event.scheduled
    add_arguments(fields, event.arguments)
    return fields


def deduplicated(event: events.TaskDeduplicated) -> dict[str, Any]:
    return of_task(event.task)


def enqueue_failed(event: events.TaskEnqueueFailed) -> dict[str, Any]:
    return {
        "partisan.queue.name": event.queue,
        **_present({"partisan.processor": event.processor or None, "partisan.task.priority": event.priority}),
        "partisan.task.attempt": 1,
        "partisan.task.retries": 0,
        "partisan.task.postpones": 0,
        **of_error(event.error),
    }


def claimed(event: events.TasksClaimed) -> dict[str, Any]:
    return {
        "partisan.queue.name": event.queue,
        "partisan.claim.count": event.number,
        "partisan.claim.task_ids": [str(task_id) for task_id in event.task_ids[:IDS_MAX]],
        "event.duration": nanoseconds(event.seconds),
    }


def started(event: events.TaskStarted) -> dict[str, Any]:
    return of_run(event.run)


def completed(event: events.TaskCompleted) -> dict[str, Any]:
    fields = of_run(event.run)
    fields["event.duration"] = nanoseconds(event.seconds)
    fields["event.outcome"] = "success"
    return fields


def postponed(event: events.TaskPostponed) -> dict[str, Any]:
    fields = of_run(event.run)
    fields["event.duration"] = nanoseconds(event.seconds)
    fields["event.outcome"] = "unknown"
    fields["partisan.task.delay_ns"] = nanoseconds(event.delay_seconds)
    if event.reason is not None:
        fields["event.reason"] = redaction.cut(str(event.reason), redaction.SHOWN_MAX_BYTES)
    return fields


def retried(event: events.TaskRetried) -> dict[str, Any]:
    fields = of_run(event.run)
    fields["event.duration"] = nanoseconds(event.seconds)
    fields["event.outcome"] = "failure"
    fields["partisan.task.delay_ns"] = nanoseconds(event.delay_seconds)
    fields["partisan.task.retries_left"] = event.retries_left
    fields.update(of_error(event.error))
    return fields


def failed(event: events.TaskFailed) -> dict[str, Any]:
    fields = of_run(event.run) if isinstance(event.run, events.Run) else of_task(event.run)
    if event.seconds is not None:
        fields["event.duration"] = nanoseconds(event.seconds)
    fields["event.outcome"] = "failure"
    fields["event.reason"] = event.reason
    fields.update(of_error(event.error))
    return fields


def settle_failed(event: events.SettleFailed) -> dict[str, Any]:
    return {"partisan.settle.count": event.number, **with_error(event)}


def claim_lost(event: events.TaskClaimLost) -> dict[str, Any]:
    return of_task(event.task)


def rescued(event: events.TaskRescued) -> dict[str, Any]:
    previous = _present({"partisan.manager.previous": event.previous_manager})
    return {**of_task(event.task), "event.reason": event.reason, **previous}


def released(event: events.TasksReleased) -> dict[str, Any]:
    return {
        "partisan.queue.name": event.queue,
        "partisan.release.count": event.number,
        "event.reason": event.reason,
    }


def transaction_left_open(event: events.TransactionLeftOpen) -> dict[str, Any]:
    return {**of_run(event.run), "partisan.database.alias": event.database}


def lease_lost(event: events.LeaseLost) -> dict[str, Any]:
    return {
        "partisan.queue.name": event.queue,
        "partisan.manager.heartbeat_age_ns": nanoseconds(event.seconds_since_heartbeat),
        "partisan.manager.held": event.held,
    }


def with_error(event: Any) -> dict[str, Any]:
    return {"partisan.queue.name": event.queue, **of_error(event.error)}


def database_restored(event: events.DatabaseRestored) -> dict[str, Any]:
    return {
        "partisan.queue.name": event.queue,
        "partisan.database.failures": event.failures,
        "event.duration": nanoseconds(event.seconds),
    }


def worker(event: events.WorkerStarted | events.WorkerReady) -> dict[str, Any]:
    return of_worker(event.queue, event.slot, event.generation, event.pid)


def worker_start_failed(event: events.WorkerStartFailed) -> dict[str, Any]:
    return {"partisan.worker.slot": event.slot, **with_error(event)}


def is_expected_exit(event: events.WorkerExited) -> bool:
    return event.reason in EXPECTED_EXITS


def worker_exited(event: events.WorkerExited) -> dict[str, Any]:
    task = event.task
    perhaps = {
        "process.exit_code": event.exit_code,
        "partisan.worker.signal": event.signal,
        "partisan.task.id": None if task is None else str(task.id),
        "partisan.processor": None if task is None else task.processor,
        "partisan.worker.peak_resident_bytes": event.peak_resident_bytes,
    }
    known = of_worker(event.queue, event.slot, event.generation, event.pid)
    return {**known, "event.reason": event.reason, **_present(perhaps)}


def flush_timed_out(event: events.TelemetryFlushTimedOut) -> dict[str, Any]:
    return {"partisan.queue.name": event.queue, "event.duration": nanoseconds(event.seconds)}


def manager_started(event: events.ManagerStarted) -> dict[str, Any]:
    return {
        "partisan.queue.name": event.queue,
        "partisan.manager.workers": event.workers,
        "partisan.manager.version": event.version,
        **_present({"partisan.manager.metrics_address": event.metrics_address}),
    }


def manager_draining(event: events.ManagerDraining) -> dict[str, Any]:
    return {
        "partisan.queue.name": event.queue,
        "partisan.manager.in_progress": event.in_progress,
        **_present({"partisan.manager.signal": event.signal}),
    }


def manager_stopped(event: events.ManagerStopped) -> dict[str, Any]:
    return {
        "partisan.queue.name": event.queue,
        "event.duration": nanoseconds(event.seconds),
        "partisan.manager.released": event.released,
        "partisan.manager.unfinished_ids": [str(task_id) for task_id in event.unfinished[:IDS_MAX]],
    }


def telemetry_dropped(event: events.TelemetryDropped) -> dict[str, Any]:
    return {
        "partisan.queue.name": event.queue,
        "event.reason": event.reason,
        "partisan.telemetry.count": event.number,
    }


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
