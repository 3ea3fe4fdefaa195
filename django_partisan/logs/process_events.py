"""The log events of managers and workers, and of their telemetry; ``task_events`` says how to add one."""

from logging import ERROR, INFO, WARNING
from typing import Final

from django_partisan.logs import fields
from django_partisan.logs.fields import (
    DURATION,
    IDS_MAX,
    QUEUE,
    REASON,
    WORKER_FIELDS,
    beginning,
    counted,
    keyword,
    known,
    long,
    nanoseconds,
    of_failure,
    of_worker,
    quoted,
)
from django_partisan.logs.log_event import MANAGER, WORKER, Line, LowerLevel, log_event
from django_partisan.outcomes import (
    REASON_CANCELLED,
    REASON_RECYCLED,
    REASON_STOPPED,
    REASON_TIMEOUT,
    REASON_WORKER_LOST,
)
from django_partisan.telemetry import events

_EXPECTED_EXITS: Final = (REASON_RECYCLED, REASON_STOPPED, REASON_TIMEOUT, REASON_CANCELLED)


@log_event(
    events.LeaseLost,
    "manager.lease_lost",
    ERROR,
    "Lease expired (last heartbeat %.1f s ago, %s held); others may have taken its tasks",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.manager.heartbeat_age_ns"), long("partisan.manager.held")),
    when="the lease expired, and other managers took tasks or removed the manager's row",
)
def lease_lost(event: events.LeaseLost) -> Line:
    return (event.seconds_since_heartbeat, counted(event.held)), {
        "partisan.queue.name": event.queue,
        "partisan.manager.heartbeat_age_ns": nanoseconds(event.seconds_since_heartbeat),
        "partisan.manager.held": event.held,
    }


@log_event(
    events.ClaimFailed,
    "claim.failed",
    ERROR,
    "Could not claim tasks; trying again: %s",
    by=(MANAGER,),
    fields=(QUEUE, *fields.ERROR),
    when="claims begin to fail, or to wait for a database that does not answer; once per change of state",
)
def claim_failed(event: events.ClaimFailed) -> Line:
    return (quoted(event.error),), of_failure(event.queue, event.error)


@log_event(
    events.DatabaseRestored,
    "database.restored",
    INFO,
    "The database answers again after %s in %.1f s",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.database.failures"), DURATION),
    when="the database answers again",
)
def database_restored(event: events.DatabaseRestored) -> Line:
    return (counted(event.failures, "failure"), event.seconds), {
        "partisan.queue.name": event.queue,
        "partisan.database.failures": event.failures,
        "event.duration": nanoseconds(event.seconds),
    }


@log_event(
    events.WorkerStarted,
    "worker.started",
    INFO,
    "Worker %s started (pid %s)",
    by=(MANAGER,),
    fields=WORKER_FIELDS,
    when="its process is up",
)
def worker_started(event: events.WorkerStarted) -> Line:
    return (event.slot, event.pid), of_worker(event)


@log_event(
    events.WorkerStartFailed,
    "worker.start_failed",
    ERROR,
    "Could not start worker %s: %s",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.worker.slot"), *fields.ERROR),
    when="its process could not be started",
)
def worker_start_failed(event: events.WorkerStartFailed) -> Line:
    return (event.slot, quoted(event.error)), {
        "partisan.worker.slot": event.slot,
        **of_failure(event.queue, event.error),
    }


@log_event(
    events.WorkerReady,
    "worker.ready",
    INFO,
    "Worker %s is ready (pid %s)%s",
    by=(MANAGER,),
    fields=WORKER_FIELDS,
    when="its processors are loaded",
)
def worker_ready(event: events.WorkerReady) -> Line:
    warnings = "".join(f"; {beginning(warning)}" for warning in event.warnings)
    return (event.slot, event.pid, warnings), of_worker(event)


@log_event(
    events.WorkerExited,
    "worker.exited",
    ERROR,
    "Worker %s exited (pid %s, %s, %s)%s",
    by=(MANAGER,),
    fields=(
        *WORKER_FIELDS,
        REASON,
        long("process.exit_code", optional=True),
        keyword("partisan.worker.signal", optional=True),
        keyword("partisan.task.id", optional=True),
        keyword("partisan.processor", optional=True),
        fields.ENQUEUED_TRACE_ID,
        long("partisan.worker.peak_resident_bytes", optional=True),
    ),
    when="the process exited; info if recycled, stopped, or killed because its run was interrupted",
    lower=LowerLevel(INFO, lambda event: event.reason in _EXPECTED_EXITS),
)
def worker_exited(event: events.WorkerExited) -> Line:
    task = event.task
    code = "unknown" if event.exit_code is None else event.exit_code
    how = f"signal {event.signal}" if event.signal else f"exit code {code}"
    running = "" if task is None else f" while running Task {task.id} ({task.processor})"
    return (event.slot, event.pid, event.reason, how, running), {
        **of_worker(event),
        "event.reason": event.reason,
        **known(
            {
                "process.exit_code": event.exit_code,
                "partisan.worker.signal": event.signal,
                "partisan.task.id": None if task is None else str(task.id),
                "partisan.processor": None if task is None else task.processor,
                "partisan.worker.peak_resident_bytes": event.peak_resident_bytes,
            }
        ),
        **fields.of_headers(None if task is None else task.headers),
    }


@log_event(
    events.TelemetryFlushTimedOut,
    "worker.telemetry_flush_timeout",
    WARNING,
    "Could not export all spans within %g s; dropped the rest",
    by=(WORKER,),
    fields=(QUEUE, DURATION),
    when="spans could not be exported in time before the exit",
)
def flush_timed_out(event: events.TelemetryFlushTimedOut) -> Line:
    return (event.seconds,), {
        "partisan.queue.name": event.queue,
        "event.duration": nanoseconds(event.seconds),
    }


@log_event(
    events.ExitTimedOut,
    "worker.exit_timeout",
    WARNING,
    "Exiting without waiting longer than %g s for receivers of worker_stopping, exit handlers or "
    "child processes",
    by=(WORKER,),
    fields=(QUEUE, DURATION),
    when="receivers of `worker_stopping`, exit handlers or children did not end in time before the exit",
)
def exit_timed_out(event: events.ExitTimedOut) -> Line:
    return (event.seconds,), {
        "partisan.queue.name": event.queue,
        "event.duration": nanoseconds(event.seconds),
    }


@log_event(
    events.ManagerStarted,
    "manager.started",
    INFO,
    "django-partisan %s serves the queue %r with %s%s",
    by=(MANAGER,),
    fields=(
        QUEUE,
        long("partisan.manager.workers"),
        keyword("partisan.manager.version"),
        keyword("partisan.manager.metrics_address", optional=True),
    ),
    when="it is about to claim",
)
def manager_started(event: events.ManagerStarted) -> Line:
    metrics = f", metrics on {event.metrics_address}" if event.metrics_address else ""
    return (event.version, event.queue, counted(event.workers, "worker"), metrics), {
        "partisan.queue.name": event.queue,
        "partisan.manager.workers": event.workers,
        "partisan.manager.version": event.version,
        **known({"partisan.manager.metrics_address": event.metrics_address}),
    }


@log_event(
    events.ManagerDraining,
    "manager.draining",
    INFO,
    "Draining%s; %s in progress",
    by=(MANAGER,),
    fields=(
        QUEUE,
        keyword("partisan.manager.signal", optional=True),
        long("partisan.manager.in_progress"),
    ),
    when="it was asked to stop",
)
def manager_draining(event: events.ManagerDraining) -> Line:
    on_signal = f" on {event.signal}" if event.signal else ""
    return (on_signal, counted(event.in_progress)), {
        "partisan.queue.name": event.queue,
        "partisan.manager.in_progress": event.in_progress,
        **known({"partisan.manager.signal": event.signal}),
    }


@log_event(
    events.ManagerStopped,
    "manager.stopped",
    INFO,
    "Stopped after %.1f s; %s released%s",
    by=(MANAGER,),
    fields=(QUEUE, DURATION, long("partisan.manager.released"), keyword("partisan.manager.unfinished_ids")),
    when="the last line of a manager",
)
def manager_stopped(event: events.ManagerStopped) -> Line:
    unfinished = f", {len(event.unfinished)} unfinished" if event.unfinished else ""
    return (event.seconds, counted(event.released), unfinished), {
        "partisan.queue.name": event.queue,
        "event.duration": nanoseconds(event.seconds),
        "partisan.manager.released": event.released,
        "partisan.manager.unfinished_ids": [str(task_id) for task_id in event.unfinished[:IDS_MAX]],
    }


@log_event(
    events.CodeReplaced,
    "manager.code_replaced",
    ERROR,
    "Draining because the library was replaced: a new worker runs django-partisan %s (protocol %s), "
    "this manager %s (protocol %s). Restart the manager",
    by=(MANAGER,),
    fields=(
        QUEUE,
        keyword("partisan.worker.version"),
        long("partisan.worker.protocol"),
        keyword("partisan.manager.version"),
        long("partisan.manager.protocol"),
    ),
    when="a new worker runs another version of the library, as after a deploy; the manager drains",
)
def code_replaced(event: events.CodeReplaced) -> Line:
    return (
        event.worker_version,
        event.worker_protocol,
        event.manager_version,
        event.manager_protocol,
    ), {
        "partisan.queue.name": event.queue,
        "partisan.worker.version": event.worker_version,
        "partisan.worker.protocol": event.worker_protocol,
        "partisan.manager.version": event.manager_version,
        "partisan.manager.protocol": event.manager_protocol,
    }


@log_event(
    events.ProcessorsIgnored,
    "manager.processors_ignored",
    WARNING,
    "Ignoring the options of further processors: workers have registered more than %s that this manager has "
    "not. Define processors in modules that partisan_tasks imports",
    by=(MANAGER,),
    fields=(QUEUE,),
    when="workers have registered more than 10000 processors that the manager does not import; once. To the "
    "tasks of further ones it applies the settings of the queue",
)
def processors_ignored(event: events.ProcessorsIgnored) -> Line:
    return (event.limit,), {"partisan.queue.name": event.queue}


@log_event(
    events.ThreadStack,
    "thread.stack",
    WARNING,
    "Thread %r is in %s",
    by=(MANAGER, WORKER),
    fields=(keyword("partisan.thread.name"),),
    when="the process received SIGQUIT; one line for each of its threads",
)
def thread_stack(event: events.ThreadStack) -> Line:
    return (event.thread, event.stack), {"partisan.thread.name": event.thread}


@log_event(
    events.MetricsServerFailed,
    "metrics.server_failed",
    ERROR,
    "Could not serve metrics: %s",
    by=(MANAGER,),
    fields=(QUEUE, *fields.ERROR),
    when="the port, a TLS file or the token file cannot be used",
)
def metrics_server_failed(event: events.MetricsServerFailed) -> Line:
    return (quoted(event.error),), of_failure(event.queue, event.error)


@log_event(
    events.MetricsPortTaken,
    "metrics.port_taken",
    WARNING,
    "Serving tasks without metrics until the port is free: a manager of the queue %r holds port %s",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.metrics.port"), keyword("partisan.metrics.holder")),
    when="another manager holds the metrics port, as in a rolling restart",
)
def metrics_port_taken(event: events.MetricsPortTaken) -> Line:
    return (event.holder, event.port), {
        "partisan.queue.name": event.queue,
        "partisan.metrics.port": event.port,
        "partisan.metrics.holder": event.holder,
    }


@log_event(
    events.MetricsServed,
    "metrics.served",
    INFO,
    "Serving metrics on %s: the port is free",
    by=(MANAGER,),
    fields=(QUEUE, keyword("partisan.manager.metrics_address")),
    when="the metrics port is free after `metrics.port_taken`, and metrics are served",
)
def metrics_served(event: events.MetricsServed) -> Line:
    return (event.address,), {
        "partisan.queue.name": event.queue,
        "partisan.manager.metrics_address": event.address,
    }


@log_event(
    events.MetricsDatabaseFailed,
    "metrics.db_scrape_failed",
    WARNING,
    "Could not read the metrics of the database: %s",
    by=(MANAGER,),
    fields=(QUEUE, *fields.ERROR),
    when="the metrics of the database cannot be read; once per change of state",
)
def metrics_database_failed(event: events.MetricsDatabaseFailed) -> Line:
    return (quoted(event.error),), of_failure(event.queue, event.error)


@log_event(
    events.TelemetryDropped,
    "telemetry.dropped",
    WARNING,
    "Dropped %s: %s",
    by=(MANAGER,),
    fields=(QUEUE, REASON, long("partisan.telemetry.count")),
    when="telemetry was dropped; at most once a minute for each reason",
)
def telemetry_dropped(event: events.TelemetryDropped) -> Line:
    unit, _, cause = event.reason.partition("_")
    lost, unit, why = _LOST.get(event.reason, ("{}", unit, cause.replace("_", " ")))
    return (lost.format(counted(event.number, unit)), why), {
        "partisan.queue.name": event.queue,
        "event.reason": event.reason,
        "partisan.telemetry.count": event.number,
    }


_LOST: Final = {
    "log_output_stalled": ("{}", "log line", "output stalled"),
    "log_handler_stalled": ("{}", "log line", "handler stalled"),
    REASON_WORKER_LOST: ("{}", "span", "worker lost"),
    "pipe_broken": ("figures of {}", "worker", "pipe broken"),
    "flush_timeout": ("telemetry of {}", "worker", "not flushed in time"),
    "unknown_metric": ("{}", "addition", "unknown to the manager's metrics"),
    "context": ("{}", "carried context", "too long, or not to be stored"),
}
"""What was lost, its unit, and why, by reason; other reasons are split into unit and cause."""
