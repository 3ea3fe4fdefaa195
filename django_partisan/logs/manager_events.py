"""The log events of managers, and of any process that logs its stacks."""

from logging import ERROR, INFO, WARNING

from django_partisan.logs.fields import (
    DURATION,
    IDS_MAX,
    QUEUE,
    count,
    keyword,
    long,
    nanoseconds,
    without_none,
)
from django_partisan.logs.log_event import MANAGER, WORKER, Line, log_event
from django_partisan.telemetry.events.managers import (
    CodeReplaced,
    DatabaseRestored,
    LeaseLost,
    ManagerDraining,
    ManagerStarted,
    ManagerStopped,
    ProcessorsIgnored,
    ThreadStack,
)


@log_event(
    ManagerStarted,
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
    when="a manager is about to start claiming tasks",
)
def manager_started(event: ManagerStarted) -> Line:
    metrics = f", metrics on {event.metrics_address}" if event.metrics_address else ""
    return (event.version, event.queue, count(event.workers, "worker"), metrics), {
        "partisan.queue.name": event.queue,
        "partisan.manager.workers": event.workers,
        "partisan.manager.version": event.version,
        **without_none({"partisan.manager.metrics_address": event.metrics_address}),
    }


@log_event(
    ManagerDraining,
    "manager.draining",
    INFO,
    "Draining%s; %s in progress",
    by=(MANAGER,),
    fields=(
        QUEUE,
        keyword("partisan.manager.signal", optional=True),
        long("partisan.manager.in_progress"),
    ),
    when="a manager was asked to stop",
)
def manager_draining(event: ManagerDraining) -> Line:
    on_signal = f" on {event.signal}" if event.signal else ""
    return (on_signal, count(event.in_progress)), {
        "partisan.queue.name": event.queue,
        "partisan.manager.in_progress": event.in_progress,
        **without_none({"partisan.manager.signal": event.signal}),
    }


@log_event(
    ManagerStopped,
    "manager.stopped",
    INFO,
    "Stopped after %.1f s; %s released%s",
    by=(MANAGER,),
    fields=(QUEUE, DURATION, long("partisan.manager.released"), keyword("partisan.manager.unfinished_ids")),
    when="a manager has stopped; this is its last line",
)
def manager_stopped(event: ManagerStopped) -> Line:
    unfinished = f", {len(event.unfinished)} unfinished" if event.unfinished else ""
    return (event.seconds, count(event.released), unfinished), {
        "partisan.queue.name": event.queue,
        "event.duration": nanoseconds(event.seconds),
        "partisan.manager.released": event.released,
        "partisan.manager.unfinished_ids": [str(task_id) for task_id in event.unfinished[:IDS_MAX]],
    }


@log_event(
    LeaseLost,
    "manager.lease_lost",
    ERROR,
    "Lease expired (last heartbeat %.1f s ago, %s held); other managers may have taken its tasks",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.manager.heartbeat_age_ns"), long("partisan.manager.held")),
    when="the lease expired, and other managers took tasks or removed the manager's row",
)
def lease_lost(event: LeaseLost) -> Line:
    return (event.seconds_since_heartbeat, count(event.held)), {
        "partisan.queue.name": event.queue,
        "partisan.manager.heartbeat_age_ns": nanoseconds(event.seconds_since_heartbeat),
        "partisan.manager.held": event.held,
    }


@log_event(
    DatabaseRestored,
    "database.restored",
    INFO,
    "The database answers again after %s in %.1f s",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.database.failures"), DURATION),
    when="the database answers again after failures",
)
def database_restored(event: DatabaseRestored) -> Line:
    return (count(event.failures, "failure"), event.seconds), {
        "partisan.queue.name": event.queue,
        "partisan.database.failures": event.failures,
        "event.duration": nanoseconds(event.seconds),
    }


@log_event(
    CodeReplaced,
    "manager.code_replaced",
    ERROR,
    "Draining because the library was replaced: a new worker runs django-partisan %s (protocol %s), "
    "but this manager runs %s (protocol %s). Restart the manager",
    by=(MANAGER,),
    fields=(
        QUEUE,
        keyword("partisan.worker.version"),
        long("partisan.worker.protocol"),
        keyword("partisan.manager.version"),
        long("partisan.manager.protocol"),
    ),
    when="a new worker runs another version of the library, for example after a deploy; the manager drains",
)
def code_replaced(event: CodeReplaced) -> Line:
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
    ProcessorsIgnored,
    "manager.processors_ignored",
    WARNING,
    "Ignoring the options of further processors: workers have registered more than %s that this manager does "
    "not import. Define processors in modules that partisan_tasks imports",
    by=(MANAGER,),
    fields=(QUEUE,),
    when="workers have registered more than 10000 processors that the manager does not import. For tasks of "
    "further processors, the manager uses the settings of the queue. Logged once",
)
def processors_ignored(event: ProcessorsIgnored) -> Line:
    return (event.limit,), {"partisan.queue.name": event.queue}


@log_event(
    ThreadStack,
    "thread.stack",
    WARNING,
    "Thread %r is in %s",
    by=(MANAGER, WORKER),
    fields=(keyword("partisan.thread.name"),),
    when="the process received SIGQUIT; one line for each of its threads",
)
def thread_stack(event: ThreadStack) -> Line:
    return (event.thread, event.stack), {"partisan.thread.name": event.thread}
