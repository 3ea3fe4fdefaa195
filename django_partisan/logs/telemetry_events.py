"""The log events of telemetry itself: its losses, and whether metrics are served."""

from logging import ERROR, INFO, WARNING
from typing import Final

from django_partisan.logs.fields import (
    DURATION,
    ERROR_FIELDS,
    QUEUE,
    REASON,
    count,
    keyword,
    long,
    nanoseconds,
    of_failure,
    quoted,
)
from django_partisan.logs.log_event import MANAGER, WORKER, Line, log_event
from django_partisan.outcomes import REASON_WORKER_LOST
from django_partisan.telemetry.events.telemetry import (
    MetricsDatabaseFailed,
    MetricsPortTaken,
    MetricsServed,
    MetricsServerFailed,
    TelemetryDropped,
    TelemetryFlushTimedOut,
)


@log_event(
    MetricsServerFailed,
    "metrics.server_failed",
    ERROR,
    "Could not serve metrics: %s",
    by=(MANAGER,),
    fields=(QUEUE, *ERROR_FIELDS),
    when="the port, a TLS file or the token file cannot be used",
)
def metrics_server_failed(event: MetricsServerFailed) -> Line:
    return (quoted(event.error),), of_failure(event.queue, event.error)


@log_event(
    MetricsPortTaken,
    "metrics.port_taken",
    WARNING,
    "Running without metrics until the port is free: a manager of the queue %r holds port %s",
    by=(MANAGER,),
    fields=(QUEUE, long("partisan.metrics.port"), keyword("partisan.metrics.holder")),
    when="another manager holds the metrics port, for example in a rolling restart",
)
def metrics_port_taken(event: MetricsPortTaken) -> Line:
    return (event.holder, event.port), {
        "partisan.queue.name": event.queue,
        "partisan.metrics.port": event.port,
        "partisan.metrics.holder": event.holder,
    }


@log_event(
    MetricsServed,
    "metrics.served",
    INFO,
    "Serving metrics on %s: the port is free",
    by=(MANAGER,),
    fields=(QUEUE, keyword("partisan.manager.metrics_address")),
    when="the metrics port has become free after `metrics.port_taken`, and metrics are served",
)
def metrics_served(event: MetricsServed) -> Line:
    return (event.address,), {
        "partisan.queue.name": event.queue,
        "partisan.manager.metrics_address": event.address,
    }


@log_event(
    MetricsDatabaseFailed,
    "metrics.db_scrape_failed",
    WARNING,
    "Could not read the metrics from the database: %s",
    by=(MANAGER,),
    fields=(QUEUE, *ERROR_FIELDS),
    when="metrics from the database, or only those of schedules, cannot be read; logged once per change of "
    "state",
)
def metrics_database_failed(event: MetricsDatabaseFailed) -> Line:
    return (quoted(event.error),), of_failure(event.queue, event.error)


@log_event(
    TelemetryFlushTimedOut,
    "worker.telemetry_flush_timeout",
    WARNING,
    "Could not export all spans within %g s; dropped the rest",
    by=(WORKER,),
    fields=(QUEUE, DURATION),
    when="spans could not be exported in time before the exit",
)
def flush_timed_out(event: TelemetryFlushTimedOut) -> Line:
    return (event.seconds,), {
        "partisan.queue.name": event.queue,
        "event.duration": nanoseconds(event.seconds),
    }


@log_event(
    TelemetryDropped,
    "telemetry.dropped",
    WARNING,
    "Dropped %s: %s",
    by=(MANAGER,),
    fields=(QUEUE, REASON, long("partisan.telemetry.count")),
    when="telemetry was dropped; at most once a minute for each reason",
)
def telemetry_dropped(event: TelemetryDropped) -> Line:
    unit, _, cause = event.reason.partition("_")
    lost, unit, why = _LOST.get(event.reason, ("{}", unit, cause.replace("_", " ")))
    return (lost.format(count(event.number, unit)), why), {
        "partisan.queue.name": event.queue,
        "event.reason": event.reason,
        "partisan.telemetry.count": event.number,
    }


_LOST: Final = {
    "log_output_stalled": ("{}", "log line", "output stalled"),
    "log_handler_stalled": ("{}", "log line", "handler stalled"),
    REASON_WORKER_LOST: ("{}", "span", "worker lost"),
    "pipe_broken": ("metrics of {}", "worker", "pipe broken"),
    "flush_timeout": ("telemetry of {}", "worker", "not flushed in time"),
    "unknown_metric": ("{}", "increment", "metric unknown to the manager"),
    "context": ("{}", "carried context", "too long, or cannot be stored"),
}
"""By reason, a template, the unit, and the cause; other reasons are split into unit and cause."""
