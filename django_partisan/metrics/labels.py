"""The values of the labels that have a fixed list."""

from typing import Final

from django_partisan.telemetry import events

COMPLETED: Final = "completed"
POSTPONED: Final = "postponed"
RETRIED: Final = "retried"
FAILED: Final = "failed"
OUTCOMES: Final = (COMPLETED, POSTPONED, RETRIED, FAILED)

BOOLEANS: Final = ("false", "true")
WORKER_STATES: Final = ("starting", "idle", "busy")
SIGNALS: Final = ("logs", "traces", "metrics")

DROPPED_PIPE: Final = "pipe_broken"
DROPPED_CONTEXT: Final = "context"
DROPPED_FLUSH: Final = "flush_timeout"
DROPPED_UNKNOWN: Final = "unknown_metric"
# These come with TelemetryDropped from tracing; the list lets the first loss of each raise an alert.
DROPPED_SPANS: Final = ("span_queue_full", "span_export_failed", "span_not_flushed")
DROPPED: Final = (DROPPED_PIPE, DROPPED_CONTEXT, DROPPED_FLUSH, DROPPED_UNKNOWN, *DROPPED_SPANS)

FAILED_REASONS: Final = (
    events.REASON_ERROR,
    events.REASON_RETRIES_EXHAUSTED,
    events.REASON_MAX_POSTPONES,
    events.REASON_UNREGISTERED,
    events.REASON_WORKER_LOST,
    events.REASON_TIMEOUT,
    events.REASON_UNSETTLEABLE,
)
RESCUED_REASONS: Final = (events.REASON_MANAGER_LOST, events.REASON_WORKER_LOST, events.REASON_STOPPED)
RELEASED_REASONS: Final = (events.REASON_STOPPED,)
EXIT_REASONS: Final = (
    events.REASON_RECYCLED,
    events.REASON_STOPPED,
    events.REASON_ERROR,
    events.REASON_SIGNAL,
)
