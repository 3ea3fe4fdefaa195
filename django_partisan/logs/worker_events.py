"""The log events of worker processes, and of runs that a manager interrupts."""

from logging import ERROR, INFO, WARNING
from typing import Any, Final

from django_partisan.logs.fields import (
    DURATION,
    ENQUEUED_TRACE_ID,
    ERROR_FIELDS,
    OF_ONE_TASK,
    QUEUE,
    REASON,
    WORKER_FIELDS,
    beginning,
    id_and_processor,
    keyword,
    long,
    nanoseconds,
    of_failure,
    of_headers,
    of_one_task,
    of_worker,
    quoted,
    without_none,
)
from django_partisan.logs.log_event import MANAGER, WORKER, Line, LowerLevel, log_event
from django_partisan.outcomes import REASON_CANCELLED, REASON_RECYCLED, REASON_STOPPED, REASON_TIMEOUT
from django_partisan.telemetry import redaction
from django_partisan.telemetry.events.workers import (
    ExitTimedOut,
    RunInterrupted,
    WorkerExited,
    WorkerKilled,
    WorkerReady,
    WorkerStarted,
    WorkerStartFailed,
)

_EXPECTED_EXITS: Final = (REASON_RECYCLED, REASON_STOPPED, REASON_TIMEOUT, REASON_CANCELLED)
_INTERRUPTED: Final = (
    *OF_ONE_TASK,
    *(field for field in WORKER_FIELDS if field is not QUEUE),
    DURATION,
    REASON,
)


@log_event(
    WorkerStarted,
    "worker.started",
    INFO,
    "Worker %s started (pid %s)",
    by=(MANAGER,),
    fields=WORKER_FIELDS,
    when="a worker process has started",
)
def worker_started(event: WorkerStarted) -> Line:
    return (event.slot, event.pid), of_worker(event)


@log_event(
    WorkerStartFailed,
    "worker.start_failed",
    ERROR,
    "Could not start worker %s: %s",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.worker.slot"), *ERROR_FIELDS),
    when="a worker process could not be started",
)
def worker_start_failed(event: WorkerStartFailed) -> Line:
    return (event.slot, quoted(event.error)), {
        "partisan.worker.slot": event.slot,
        **of_failure(event.queue, event.error),
    }


@log_event(
    WorkerReady,
    "worker.ready",
    INFO,
    "Worker %s is ready (pid %s)%s",
    by=(MANAGER,),
    fields=WORKER_FIELDS,
    when="a worker has loaded its processors",
)
def worker_ready(event: WorkerReady) -> Line:
    warnings = "".join(f"; {beginning(warning)}" for warning in event.warnings)
    return (event.slot, event.pid, warnings), of_worker(event)


@log_event(
    WorkerExited,
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
        ENQUEUED_TRACE_ID,
        long("partisan.worker.peak_resident_bytes", optional=True),
    ),
    when="a worker process exited; logged at level info if it was recycled, stopped, or killed because an "
    "interrupted run did not end",
    lower=LowerLevel(INFO, lambda event: event.reason in _EXPECTED_EXITS),
)
def worker_exited(event: WorkerExited) -> Line:
    task = event.task
    code = "unknown" if event.exit_code is None else event.exit_code
    how = f"signal {event.signal}" if event.signal else f"exit code {code}"
    running = "" if task is None else f" while running Task {task.id} ({task.processor})"
    return (event.slot, event.pid, event.reason, how, running), {
        **of_worker(event),
        "event.reason": event.reason,
        **without_none(
            {
                "process.exit_code": event.exit_code,
                "partisan.worker.signal": event.signal,
                "partisan.task.id": None if task is None else str(task.id),
                "partisan.processor": None if task is None else task.processor,
                "partisan.worker.peak_resident_bytes": event.peak_resident_bytes,
            }
        ),
        **of_headers(None if task is None else task.headers),
    }


@log_event(
    RunInterrupted,
    "task.interrupted",
    WARNING,
    "Task %s (%s) interrupted after %.3f s (%s)",
    by=(MANAGER,),
    fields=(*_INTERRUPTED, keyword("partisan.interrupt.comment", optional=True)),
    when="a run was interrupted because it exceeded its time limit or because its task was cancelled; at "
    "level info if cancelled",
    lower=LowerLevel(INFO, lambda event: event.reason == REASON_CANCELLED),
)
def interrupted(event: RunInterrupted) -> Line:
    return (*id_and_processor(event.task), event.seconds, event.reason), {
        **_interrupted_fields(event),
        **without_none(
            {"partisan.interrupt.comment": redaction.cut(event.comment, redaction.SHOWN_MAX_BYTES) or None}
        ),
    }


@log_event(
    WorkerKilled,
    "worker.killed",
    WARNING,
    "Killed worker %s (pid %s): Task %s (%s) did not end when interrupted (%s)",
    by=(MANAGER,),
    fields=_INTERRUPTED,
    when="an interrupted run had not ended after `INTERRUPT_GRACE_SECONDS`",
)
def worker_killed(event: WorkerKilled) -> Line:
    return (event.slot, event.pid, *id_and_processor(event.task), event.reason), _interrupted_fields(event)


@log_event(
    ExitTimedOut,
    "worker.exit_timeout",
    WARNING,
    "Exiting, although receivers of worker_stopping, exit handlers or child processes did not end within "
    "%g s",
    by=(WORKER,),
    fields=(QUEUE, DURATION),
    when="the worker exited before receivers of `worker_stopping`, exit handlers or child processes had "
    "ended",
)
def exit_timed_out(event: ExitTimedOut) -> Line:
    return (event.seconds,), {
        "partisan.queue.name": event.queue,
        "event.duration": nanoseconds(event.seconds),
    }


def _interrupted_fields(event: RunInterrupted | WorkerKilled) -> dict[str, Any]:
    return {
        **of_one_task(event.task),
        "partisan.worker.slot": event.slot,
        "partisan.worker.generation": event.generation,
        "partisan.worker.pid": event.pid,
        "event.duration": nanoseconds(event.seconds),
        "event.reason": event.reason,
    }
