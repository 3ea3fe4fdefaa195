"""Install this process's tracing subscriber: at most one, and none where it would only add cost."""

import os
from typing import Literal

from django_partisan.config.queues import DEFAULT_QUEUE
from django_partisan.telemetry import bus
from django_partisan.tracing import datadog
from django_partisan.tracing.sdk import configure_sdk_if_needed, configured_tracer
from django_partisan.tracing.subscriber import TracingSubscriber


def install() -> None:
    """Trace the tasks that this process enqueues, as soon as the project configures an SDK."""
    if not _installed():
        bus.subscribe(TracingSubscriber())


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
    for inherited in _installed():  # from the fork server or the application's set-up
        bus.unsubscribe(inherited)
    if configured_tracer() is not None:
        bus.subscribe(TracingSubscriber(manager_pid or os.getpid(), slot, queue))


def is_stuck() -> bool:
    """Return whether the spans or metrics of this process were not exported in time.

    The exit handler of the project's own SDK would wait for the collector again, and for longer.
    """
    return any(one.is_stuck for one in _installed())


def _installed() -> list[TracingSubscriber]:
    return [one for one in bus.subscribers() if isinstance(one, TracingSubscriber)]
