"""Which label values there are, and which series exist before anything was counted."""

from collections.abc import Iterable, Iterator
from typing import Final

from django_partisan import outcomes
from django_partisan.metrics import catalogue
from django_partisan.metrics.metric import Key, Metric

BOOLEANS: Final = ("false", "true")
WORKER_STATES: Final = ("starting", "idle", "busy")
QUEUE_STATES: Final = ("due", "scheduled", "in_process", "error")
SIGNALS: Final = ("logs", "traces", "metrics")

DROPPED_PIPE: Final = "pipe_broken"
DROPPED_CONTEXT: Final = "context"
DROPPED_FLUSH: Final = "flush_timeout"
DROPPED_UNKNOWN: Final = "unknown_metric"
# Those that whoever traces tells with TelemetryDropped, so that the first loss of each can alert.
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

# Metrics with the labels queue and processor, and the values of a third label, if there is one.
_BY_PROCESSOR: Final[tuple[tuple[Metric, tuple[str, ...] | None], ...]] = (
    (catalogue.TASKS_ENQUEUED, BOOLEANS),
    (catalogue.TASKS_DEDUPLICATED, None),
    (catalogue.TASKS_STARTED, None),
    (catalogue.TASKS_COMPLETED, None),
    (catalogue.TASKS_POSTPONED, None),
    (catalogue.TASKS_RETRIED, None),
    (catalogue.TASKS_FAILED, outcomes.FAILURE_REASONS),
    (catalogue.TASKS_ENQUEUE_FAILED, None),
    (catalogue.TASK_DURATION, outcomes.OUTCOMES),
    (catalogue.TASK_QUEUE_WAIT, None),
)
# Metrics with the label queue, likewise.
_BY_QUEUE: Final[tuple[tuple[Metric, tuple[str, ...] | None], ...]] = (
    (catalogue.TASKS_CLAIMED, None),
    (catalogue.TASKS_RESCUED, RESCUED_REASONS),
    (catalogue.TASKS_RELEASED, RELEASED_REASONS),
    (catalogue.TASKS_CLAIM_LOST, None),
    (catalogue.TASK_ATTEMPTS, None),
    (catalogue.WORKER_EXITS, EXIT_REASONS),
    (catalogue.CLAIMS, None),
    (catalogue.CLAIMS_EMPTY, None),
    (catalogue.CLAIM_ERRORS, None),
    (catalogue.CLAIM_DURATION, None),
    (catalogue.SETTLE_DURATION, None),
    (catalogue.SETTLE_BATCH, None),
    (catalogue.SETTLE_ERRORS, None),
    (catalogue.LEASE_LOST, None),
    (catalogue.TELEMETRY_MESSAGES, None),
    (catalogue.TELEMETRY_DROPPED, DROPPED),
)
_GLOBAL: Final = (
    (catalogue.LABEL_OVERFLOW, ("processor", "error_type")),
    (catalogue.TELEMETRY_ERRORS, SIGNALS),
)


def of_queue(queue: str) -> Iterator[Key]:
    """Yield the series of a manager that exist whatever its processors are."""
    for metric, values in _BY_QUEUE:
        yield from _keys(metric, (queue,), values)
    for metric, values in _GLOBAL:
        yield from _keys(metric, (), values)


def of_processors(queue: str, processors: Iterable[str]) -> Iterator[Key]:
    """Yield the series of the queue's processors that exist before their first run."""
    for processor in processors:
        for metric, values in _BY_PROCESSOR:
            yield from _keys(metric, (queue, processor), values)


def _keys(metric: Metric, labels: tuple[str, ...], values: tuple[str, ...] | None) -> Iterator[Key]:
    if values is None:
        yield metric.name, labels
    else:
        for value in values:
            yield metric.name, (*labels, value)
