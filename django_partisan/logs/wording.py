"""The message of each event: one plain sentence for people, with the numbers that matter."""

from django_partisan.telemetry import events
from django_partisan.telemetry.events import ErrorInfo, Run, TaskRef

_SAID_MAX = 200


def enqueued(fact: events.TaskEnqueued) -> str:
    if fact.scheduled:
        return f"{_named(fact.task)} enqueued, due at {fact.due_at.isoformat()}"
    return f"{_named(fact.task)} enqueued"


def deduplicated(fact: events.TaskDeduplicated) -> str:
    return f"{_named(fact.task)} waits already; no second one enqueued"


def enqueue_failed(fact: events.TaskEnqueueFailed) -> str:
    return f"A task of {fact.processor or 'several processors'} could not be enqueued: {_said(fact.error)}"


def claimed(fact: events.TasksClaimed) -> str:
    return f"Claimed {_count(fact.number)} in {fact.seconds:.3f} s"


def started(fact: events.TaskStarted) -> str:
    return f"{_named(fact.run)} started, attempt {fact.run.attempt}"


def completed(fact: events.TaskCompleted) -> str:
    return f"{_named(fact.run)} completed in {fact.seconds:.3f} s"


def postponed(fact: events.TaskPostponed) -> str:
    why = "" if fact.reason is None else f": {_short(str(fact.reason))}"
    return f"{_named(fact.run)} postponed by {fact.delay_seconds:g} s{why}"


def retried(fact: events.TaskRetried) -> str:
    when = f"runs again in {fact.delay_seconds:g} s, {fact.retries_left} retries left"
    return f"{_named(fact.run)} {when}: {_said(fact.error)}"


def failed(fact: events.TaskFailed) -> str:
    return f"{_named(fact.run)} failed for good ({fact.reason}): {_said(fact.error)}"


def settle_failed(fact: events.SettleFailed) -> str:
    return f"The outcomes of {_count(fact.number)} cannot be written yet: {_said(fact.error)}"


def claim_lost(fact: events.TaskClaimLost) -> str:
    return f"{_named(fact.task)} ended under a claim that is no longer ours; its outcome is dropped"


def rescued(fact: events.TaskRescued) -> str:
    return f"{_named(fact.task)} will run again ({fact.reason})"


def released(fact: events.TasksReleased) -> str:
    return f"Gave back {_count(fact.number)} not started ({fact.reason})"


def transaction_left_open(fact: events.TransactionLeftOpen) -> str:
    return f"{_named(fact.run)} left a transaction open on the database {fact.database!r}; it was rolled back"


def lease_lost(fact: events.LeaseLost) -> str:
    age = f"{fact.seconds_since_heartbeat:.1f} s after the last heartbeat"
    return f"The lease ran out {age}, with {_count(fact.held)} held; going on under a new identity"


def claim_failed(fact: events.ClaimFailed) -> str:
    return f"Tasks cannot be claimed: {_said(fact.error)}"


def database_restored(fact: events.DatabaseRestored) -> str:
    return f"The database answers again after {fact.failures} failures in {fact.seconds:.1f} s"


def worker_started(fact: events.WorkerStarted) -> str:
    return f"Worker {fact.slot} started (pid {fact.pid})"


def worker_ready(fact: events.WorkerReady) -> str:
    warned = "".join(f"; {_short(warning)}" for warning in fact.warnings)
    return f"Worker {fact.slot} is ready (pid {fact.pid}){warned}"


def worker_start_failed(fact: events.WorkerStartFailed) -> str:
    return f"Worker {fact.slot} could not be started: {_said(fact.error)}"


def worker_exited(fact: events.WorkerExited) -> str:
    code = "unknown" if fact.exit_code is None else fact.exit_code
    by = f"signal {fact.signal}" if fact.signal else f"exit code {code}"
    ran = "" if fact.task is None else f", while it ran {_named(fact.task)}"
    return f"Worker {fact.slot} exited (pid {fact.pid}, {fact.reason}, {by}){ran}"


def flush_timed_out(fact: events.TelemetryFlushTimedOut) -> str:
    return f"Spans could not be sent within {fact.seconds:g} s; the rest is lost"


def manager_started(fact: events.ManagerStarted) -> str:
    metrics = f", metrics on {fact.metrics_address}" if fact.metrics_address else ""
    return (
        f"django-partisan {fact.version} serves the queue {fact.queue!r} with {fact.workers} workers{metrics}"
    )


def manager_draining(fact: events.ManagerDraining) -> str:
    why = f" on {fact.signal}" if fact.signal else ""
    return f"Stopping{why}; {_count(fact.in_progress)} in progress"


def manager_stopped(fact: events.ManagerStopped) -> str:
    left = f", {len(fact.unfinished)} unfinished" if fact.unfinished else ""
    return f"Stopped after {fact.seconds:.1f} s; {fact.released} given back{left}"


def metrics_server_failed(fact: events.MetricsServerFailed) -> str:
    return f"Metrics cannot be served: {_said(fact.error)}"


def metrics_database_failed(fact: events.MetricsDatabaseFailed) -> str:
    return f"Figures of the database cannot be read: {_said(fact.error)}"


def telemetry_dropped(fact: events.TelemetryDropped) -> str:
    return f"Telemetry lost: {fact.number} ({fact.reason})"


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
