"""Which subscriber traces in this process: one at most, and none where it would only cost."""

import os

from django_partisan.config.queues import DEFAULT_QUEUE
from django_partisan.telemetry import bus
from django_partisan.tracing.sdk import MANAGER, WORKER, configure_sdk_if_needed, is_set_up
from django_partisan.tracing.subscriber import TracingSubscriber

_subscriber: TracingSubscriber | None = None


def install() -> None:
    """Trace what this process enqueues, from when its host configures an SDK."""
    if _subscriber is None:
        _put(TracingSubscriber())


def setup(
    role: str, queue: str = DEFAULT_QUEUE, manager_pid: int | None = None, slot: int | None = None
) -> None:
    """Set up tracing in a process of ``start_partisan``, whose ``role`` is ``manager`` or ``worker``.

    Call it after the process started, with the manager's pid and, in a worker, the slot. Where no SDK
    is configured, by ``OTEL_*`` or by the host, nobody is subscribed: each run would pay for it.
    """
    if role not in (MANAGER, WORKER):
        raise ValueError(f"role is {role!r}; expected {MANAGER!r} or {WORKER!r}")
    configure_sdk_if_needed(role, queue)
    _put(TracingSubscriber(manager_pid or os.getpid(), slot, queue) if is_set_up() else None)


def _put(subscriber: TracingSubscriber | None) -> None:
    """Have ``subscriber`` take the place of the one before, which a fork server may have left us."""
    global _subscriber
    if _subscriber is not None:
        bus.unsubscribe(_subscriber)
    if subscriber is not None:
        bus.subscribe(subscriber)
    _subscriber = subscriber
