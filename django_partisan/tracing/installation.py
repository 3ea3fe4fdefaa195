"""Install this process's tracing subscriber: at most one, and none where it would only add cost."""

import os
from typing import Literal

from django_partisan.config.queues import DEFAULT_QUEUE
from django_partisan.telemetry import bus
from django_partisan.tracing import datadog
from django_partisan.tracing.sdk import configure_sdk_if_needed, configured_tracer
from django_partisan.tracing.subscriber import TracingSubscriber

_subscriber: TracingSubscriber | None = None


def install() -> None:
    """Trace the tasks that this process enqueues, as soon as the project configures an SDK."""
    if _subscriber is None:
        _replace(TracingSubscriber())


def setup(
    role: Literal["manager", "worker"],
    queue: str = DEFAULT_QUEUE,
    manager_pid: int | None = None,
    slot: int | None = None,
) -> None:
    """Set up tracing in a process of ``start_partisan``.

    Call it after the process has started, with the manager's pid and, in a worker, the slot. If no SDK is
    configured, by ``OTEL_*`` or the project, no subscriber is added, because it would cost time in every run.
    """
    if role == "manager":
        datadog.disable()
    configure_sdk_if_needed(role, queue)
    is_of_use = configured_tracer() is not None
    _replace(TracingSubscriber(manager_pid or os.getpid(), slot, queue) if is_of_use else None)


def is_stuck() -> bool:
    """Return whether the spans or metrics of this process were not exported in time.

    The exit handler of the project's own SDK would wait for the collector again, and for longer.
    """
    return _subscriber is not None and _subscriber.is_stuck


def _replace(subscriber: TracingSubscriber | None) -> None:
    """Replace the current subscriber, which this process may have inherited from a fork server."""
    global _subscriber
    if _subscriber is not None:
        bus.unsubscribe(_subscriber)
    if subscriber is not None:
        bus.subscribe(subscriber)
    _subscriber = subscriber
