"""The message of each event: one plain sentence for people, with the numbers that matter."""

from django_partisan.telemetry import events
from django_partisan.telemetry.events import ErrorInfo, Run, TaskRef

_SAID_MAX = 200


def enqueued(event: events.TaskEnqueued) -> str:
    if event.scheduled:
        return f"{_named(event.task)} enqueued, due at {event.due_at.isoformat()}"
    return f"{_named(event.task)} enqueued"


def deduplicated(event: events.TaskDeduplicated) -> str:
    return f"{_named(event.task)} waits already; no second one enqueued"


def enqueue_failed(event: events.TaskEnqueueFailed) -> str:
    return f"A task of {event.processor or 'several processors'} could not be enqueued: {_said(event.error)}"


def claimed(event: events.TasksClaimed) -> str:
    return f"Claimed {_count(event.number)} in {event.seconds:.3f} s"


def started(event: events.TaskStarted) -> str:
    return f"{_named(event.run)} started, attempt {event.run.attempt}"


def completed(event: events.TaskCompleted) -> str:
    return f"{_named(event.run)} completed in {event.seconds:.3f} s"


def postponed(event: events.TaskPostponed) -> str:
    why = "" if event.reason is None else f": {_short(str(event.reason))}"
    return f"{_named(event.run)} postponed by {event.delay_seconds:g} s{why}"


def retried(event: events.TaskRetried) -> str:
    when = f"runs again in {event.delay_seconds:g} s, {event.retries_left} retries left"
    return f"{_named(event.run)} {when}: {_said(event.error)}"


def failed(event: events.TaskFailed) -> str:
    return f"{_named(event.run)} failed for good ({event.reason}): {_said(event.error)}"


def settle_failed(event: events.SettleFailed) -> str:
    return f"The outcomes of {_count(event.number)} cannot be written yet: {_said(event.error)}"


def claim_lost(event: events.TaskClaimLost) -> str:
    return f"{_named(event.task)} ended under a claim that is no longer ours; its outcome is dropped"


def rescued(event: events.TaskRescued) -> str:
    return f"{_named(event.task)} will run again ({event.reason})"


def released(event: events.TasksReleased) -> str:
    return f"Gave back {_count(event.number)} not started ({event.reason})"


def transaction_left_open(event: events.TransactionLeftOpen) -> str:
    return (
        f"{_named(event.run)} left a transaction open on the database {event.database!r}; it was rolled back"
    )


def lease_lost(event: events.LeaseLost) -> str:
    age = f"{event.seconds_since_heartbeat:.1f} s after the last heartbeat"
    return f"The lease ran out {age}, with {_count(event.held)} held; going on under a new identity"


def claim_failed(event: events.ClaimFailed) -> str:
    return f"Tasks cannot be claimed: {_said(event.error)}"


def database_restored(event: events.DatabaseRestored) -> str:
    return f"The database answers again after {event.failures} failures in {event.seconds:.1f} s"


def worker_started(event: events.WorkerStarted) -> str:
    return f"Worker {event.slot} started (pid {event.pid})"


def worker_ready(event: events.WorkerReady) -> str:
    warned = "".join(f"; {_short(warning)}" for warning in event.warnings)
    return f"Worker {event.slot} is ready (pid {event.pid}){warned}"


def worker_start_failed(event: events.WorkerStartFailed) -> str:
    return f"Worker {event.slot} could not be started: {_said(event.error)}"


def worker_exited(event: events.WorkerExited) -> str:
    code = "unknown" if event.exit_code is None else event.exit_code
    by = f"signal {event.signal}" if event.signal else f"exit code {code}"
    ran = "" if event.task is None else f", while it ran {_named(event.task)}"
    return f"Worker {event.slot} exited (pid {event.pid}, {event.reason}, {by}){ran}"


def flush_timed_out(event: events.TelemetryFlushTimedOut) -> str:
    return f"Spans could not be sent within {event.seconds:g} s; the rest is lost"


def manager_started(event: events.ManagerStarted) -> str:
    metrics = f", metrics on {event.metrics_address}" if event.metrics_address else ""
    serves = f"serves the queue {event.queue!r} with {event.workers} workers"
    return f"django-partisan {event.version} {serves}{metrics}"


def manager_draining(event: events.ManagerDraining) -> str:
    why = f" on {event.signal}" if event.signal else ""
    return f"Stopping{why}; {_count(event.in_progress)} in progress"


def manager_stopped(event: events.ManagerStopped) -> str:
    left = f", {len(event.unfinished)} unfinished" if event.unfinished else ""
    return f"Stopped after {event.seconds:.1f} s; {event.released} given back{left}"


def metrics_server_failed(event: events.MetricsServerFailed) -> str:
    return f"Metrics cannot be served: {_said(event.error)}"


def metrics_database_failed(event: events.MetricsDatabaseFailed) -> str:
    return f"Figures of the database cannot be read: {_said(event.error)}"


def telemetry_dropped(event: events.TelemetryDropped) -> str:
    return f"Telemetry lost: {event.number} ({event.reason})"


def _named(task: TaskRef | Run) -> str:
    return f"Task {task.id} ({task.processor})"


def _count(number: int) -> str:
    return "1 task" if number == 1 else f"{number} tasks"


def _said(error: ErrorInfo) -> str:
    kind = error.type.rpartition(".")[2]
    said = error.message.strip()
    return f"{kind}: {_short(said)}" if said else kind


def _short(text: str) -> str:
    first, *more = text.splitlines() or [""]
    return first if not more and len(first) <= _SAID_MAX else first[:_SAID_MAX] + "…"
