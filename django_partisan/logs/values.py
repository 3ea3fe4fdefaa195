"""The fields of each event, taken from its fact."""

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


def enqueued(fact: events.TaskEnqueued) -> dict[str, Any]:
    fields = of_task(fact.task)
    fields["partisan.task.due_at"] = fact.due_at.isoformat()
    fields["partisan.task.scheduled"] = fact.scheduled
    add_arguments(fields, fact.arguments)
    return fields


def deduplicated(fact: events.TaskDeduplicated) -> dict[str, Any]:
    return of_task(fact.task)


def enqueue_failed(fact: events.TaskEnqueueFailed) -> dict[str, Any]:
    return {
        "partisan.queue.name": fact.queue,
        **_present({"partisan.processor": fact.processor or None, "partisan.task.priority": fact.priority}),
        "partisan.task.attempt": 1,
        "partisan.task.retries": 0,
        "partisan.task.postpones": 0,
        **of_error(fact.error),
    }


def claimed(fact: events.TasksClaimed) -> dict[str, Any]:
    return {
        "partisan.queue.name": fact.queue,
        "partisan.claim.count": fact.number,
        "partisan.claim.task_ids": [str(task_id) for task_id in fact.task_ids[:IDS_MAX]],
        "event.duration": nanoseconds(fact.seconds),
    }


def started(fact: events.TaskStarted) -> dict[str, Any]:
    return of_run(fact.run)


def completed(fact: events.TaskCompleted) -> dict[str, Any]:
    fields = of_run(fact.run)
    fields["event.duration"] = nanoseconds(fact.seconds)
    fields["event.outcome"] = "success"
    return fields


def postponed(fact: events.TaskPostponed) -> dict[str, Any]:
    fields = of_run(fact.run)
    fields["event.duration"] = nanoseconds(fact.seconds)
    fields["event.outcome"] = "unknown"
    fields["partisan.task.delay_ns"] = nanoseconds(fact.delay_seconds)
    if fact.reason is not None:
        fields["event.reason"] = redaction.cut(str(fact.reason), redaction.SHOWN_MAX_BYTES)
    return fields


def retried(fact: events.TaskRetried) -> dict[str, Any]:
    fields = of_run(fact.run)
    fields["event.duration"] = nanoseconds(fact.seconds)
    fields["event.outcome"] = "failure"
    fields["partisan.task.delay_ns"] = nanoseconds(fact.delay_seconds)
    fields["partisan.task.retries_left"] = fact.retries_left
    fields.update(of_error(fact.error))
    return fields


def failed(fact: events.TaskFailed) -> dict[str, Any]:
    fields = of_run(fact.run) if isinstance(fact.run, events.Run) else of_task(fact.run)
    if fact.seconds is not None:
        fields["event.duration"] = nanoseconds(fact.seconds)
    fields["event.outcome"] = "failure"
    fields["event.reason"] = fact.reason
    fields.update(of_error(fact.error))
    return fields


def settle_failed(fact: events.SettleFailed) -> dict[str, Any]:
    return {"partisan.settle.count": fact.number, **with_error(fact)}


def claim_lost(fact: events.TaskClaimLost) -> dict[str, Any]:
    return of_task(fact.task)


def rescued(fact: events.TaskRescued) -> dict[str, Any]:
    previous = _present({"partisan.manager.previous": fact.previous_manager})
    return {**of_task(fact.task), "event.reason": fact.reason, **previous}


def released(fact: events.TasksReleased) -> dict[str, Any]:
    return {
        "partisan.queue.name": fact.queue,
        "partisan.release.count": fact.number,
        "event.reason": fact.reason,
    }


def transaction_left_open(fact: events.TransactionLeftOpen) -> dict[str, Any]:
    return {**of_run(fact.run), "partisan.database.alias": fact.database}


def lease_lost(fact: events.LeaseLost) -> dict[str, Any]:
    return {
        "partisan.queue.name": fact.queue,
        "partisan.manager.heartbeat_age_ns": nanoseconds(fact.seconds_since_heartbeat),
        "partisan.manager.held": fact.held,
    }


def with_error(fact: Any) -> dict[str, Any]:
    return {"partisan.queue.name": fact.queue, **of_error(fact.error)}


def database_restored(fact: events.DatabaseRestored) -> dict[str, Any]:
    return {
        "partisan.queue.name": fact.queue,
        "partisan.database.failures": fact.failures,
        "event.duration": nanoseconds(fact.seconds),
    }


def worker(fact: events.WorkerStarted | events.WorkerReady) -> dict[str, Any]:
    return of_worker(fact.queue, fact.slot, fact.generation, fact.pid)


def worker_start_failed(fact: events.WorkerStartFailed) -> dict[str, Any]:
    return {"partisan.worker.slot": fact.slot, **with_error(fact)}


def is_expected_exit(fact: events.WorkerExited) -> bool:
    return fact.reason in EXPECTED_EXITS


def worker_exited(fact: events.WorkerExited) -> dict[str, Any]:
    task = fact.task
    perhaps = {
        "process.exit_code": fact.exit_code,
        "partisan.worker.signal": fact.signal,
        "partisan.task.id": None if task is None else str(task.id),
        "partisan.processor": None if task is None else task.processor,
        "partisan.worker.peak_resident_bytes": fact.peak_resident_bytes,
    }
    known = of_worker(fact.queue, fact.slot, fact.generation, fact.pid)
    return {**known, "event.reason": fact.reason, **_present(perhaps)}


def flush_timed_out(fact: events.TelemetryFlushTimedOut) -> dict[str, Any]:
    return {"partisan.queue.name": fact.queue, "event.duration": nanoseconds(fact.seconds)}


def manager_started(fact: events.ManagerStarted) -> dict[str, Any]:
    return {
        "partisan.queue.name": fact.queue,
        "partisan.manager.workers": fact.workers,
        "partisan.manager.version": fact.version,
        **_present({"partisan.manager.metrics_address": fact.metrics_address}),
    }


def manager_draining(fact: events.ManagerDraining) -> dict[str, Any]:
    return {
        "partisan.queue.name": fact.queue,
        "partisan.manager.in_progress": fact.in_progress,
        **_present({"partisan.manager.signal": fact.signal}),
    }


def manager_stopped(fact: events.ManagerStopped) -> dict[str, Any]:
    return {
        "partisan.queue.name": fact.queue,
        "event.duration": nanoseconds(fact.seconds),
        "partisan.manager.released": fact.released,
        "partisan.manager.unfinished_ids": [str(task_id) for task_id in fact.unfinished[:IDS_MAX]],
    }


def telemetry_dropped(fact: events.TelemetryDropped) -> dict[str, Any]:
    return {
        "partisan.queue.name": fact.queue,
        "event.reason": fact.reason,
        "partisan.telemetry.count": fact.number,
    }


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
