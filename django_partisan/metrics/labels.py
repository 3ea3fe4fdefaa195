"""The values of the labels that have a fixed list."""

from typing import Final

from django_partisan import outcomes

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

RESCUED_REASONS: Final = (outcomes.REASON_MANAGER_LOST, outcomes.REASON_WORKER_LOST, outcomes.REASON_STOPPED)
RELEASED_REASONS: Final = (outcomes.REASON_STOPPED,)
EXIT_REASONS: Final = (
    outcomes.REASON_RECYCLED,
    outcomes.REASON_STOPPED,
    outcomes.REASON_ERROR,
    outcomes.REASON_SIGNAL,
)
