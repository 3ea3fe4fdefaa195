"""Events of telemetry itself: what was dropped, and whether metrics are served."""

from typing import NamedTuple

from django_partisan.telemetry.events.values import ErrorInfo


class TelemetryFlushTimedOut(NamedTuple):
    queue: str
    seconds: float


class PipeBroken(NamedTuple):
    """A worker's message was incomplete or unreadable; its pipe is closed."""

    queue: str
    slot: int
    reason: str


class TelemetryDropped(NamedTuple):
    queue: str
    reason: str
    number: int


class MetricsUnknown(NamedTuple):
    """A worker's report contained ``number`` series of metrics that its manager does not have."""

    queue: str
    number: int


class MetricsServerFailed(NamedTuple):
    queue: str
    error: ErrorInfo


class MetricsPortTaken(NamedTuple):
    """A manager of the queue ``holder`` uses the port; metrics are served once it is free."""

    queue: str
    port: int
    holder: str


class MetricsServed(NamedTuple):
    """The port has become free, and metrics are served."""

    queue: str
    address: str


class MetricsDatabaseFailed(NamedTuple):
    queue: str
    error: ErrorInfo
