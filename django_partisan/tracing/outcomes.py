"""What came of a run, as its span tells it: attributes, status and one event with the log event's fields."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from django_partisan.outcomes import COMPLETED, FAILED, POSTPONED, RETRIED
from django_partisan.telemetry.events import (
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
)
from django_partisan.tracing import spans
from django_partisan.tracing.attributes import Attributes, message
from django_partisan.tracing.run_scope import RunScope

NANOSECONDS: Final = 1_000_000_000


def _completed(run: RunScope, event: TaskCompleted) -> None:
    run.tell(COMPLETED, _ended(event.seconds, "success"))


def _postponed(run: RunScope, event: TaskPostponed) -> None:
    fields = _ended(event.seconds, "unknown")
    if event.reason is not None:
        fields[spans.EVENT_REASON] = message(event.reason)
    run.tell(POSTPONED, fields, delay_seconds=event.delay_seconds)


def _retried(run: RunScope, event: TaskRetried) -> None:
    fields = {**_ended(event.seconds, "failure"), spans.RETRIES_LEFT: event.retries_left}
    run.tell(RETRIED, fields, event.error, event.delay_seconds)


def _failed(run: RunScope, event: TaskFailed) -> None:
    fields = {**_ended(event.seconds, "failure"), spans.EVENT_REASON: event.reason}
    run.tell(FAILED, fields, event.error)


def _ended(seconds: float | None, outcome: str) -> Attributes:
    fields: Attributes = {spans.EVENT_OUTCOME: outcome}
    if seconds is not None:
        fields[spans.EVENT_DURATION] = int(seconds * NANOSECONDS)
    return fields


OUTCOMES: Final[Mapping[type, Callable[[RunScope, Any], None]]] = {
    TaskCompleted: _completed,
    TaskPostponed: _postponed,
    TaskRetried: _retried,
    TaskFailed: _failed,
}
"""How each event that ends a run is told."""
