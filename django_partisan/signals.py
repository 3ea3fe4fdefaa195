"""Django signals for users: a task was enqueued, started or finished; a worker is stopping.

The sender is the processor class or function, so that receivers can select it; it is ``None`` if it is not
registered in this process, and for ``worker_stopping``. Receivers run in the worker or in the process that
enqueues, never in a manager. Receivers of ``task_started`` and ``task_finished`` delay the task, so they
should be fast. If a receiver raises an error, Django logs it and it is counted; the task is not affected.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from django.dispatch import Signal

from django_partisan import registry
from django_partisan.outcomes import COMPLETED, FAILED, POSTPONED, RETRIED
from django_partisan.telemetry import bus
from django_partisan.telemetry.events import Event
from django_partisan.telemetry.events.runs import OUTCOME_OF, TaskStarted
from django_partisan.telemetry.events.tasks import TaskEnqueued
from django_partisan.telemetry.events.values import Run, TaskRef
from django_partisan.telemetry.events.workers import WorkerStopping

__all__ = [
    "COMPLETED",
    "FAILED",
    "POSTPONED",
    "RETRIED",
    "task_enqueued",
    "task_finished",
    "task_started",
    "worker_stopping",
]


class TaskSignal(Signal):
    """A signal to which receivers may connect at any time; without receivers it costs nothing."""

    def connect(self, *args: Any, **kwargs: Any) -> None:
        super().connect(*args, **kwargs)
        bus.refresh()

    def disconnect(self, *args: Any, **kwargs: Any) -> bool:
        was_connected = super().disconnect(*args, **kwargs)
        bus.refresh()
        return was_connected


task_enqueued: Final = TaskSignal()
"""Sent after commit, with ``task`` (a ``TaskRef``), ``due_at`` and ``scheduled``."""

task_started: Final = TaskSignal()
"""Sent in the worker before ``run()``, with ``task`` (a ``Run``)."""

task_finished: Final = TaskSignal()
"""Sent at the end of a run, with ``task``, ``outcome`` and ``error`` (an ``ErrorInfo`` or ``None``).

``error.exception`` is the exception itself; it is available only during the call.

``outcome`` is ``completed``, ``postponed``, ``retried`` or ``failed``. If the worker died or was killed
during the run, no signal is sent, because no process is left to call the receivers.
"""

worker_stopping: Final = TaskSignal()
"""Sent in a worker after its last task, before it ends, with ``queue`` and ``slot``; the sender is ``None``.

Receivers run in a separate thread, before the exit handlers; together they have
``TELEMETRY_SHUTDOWN_TIMEOUT`` seconds.
"""

_SIGNALS: Final[dict[type, TaskSignal]] = {
    TaskEnqueued: task_enqueued,
    TaskStarted: task_started,
    WorkerStopping: worker_stopping,
    **dict.fromkeys(OUTCOME_OF, task_finished),
}


class SignalSubscriber(bus.Subscriber):
    """A subscriber that sends events as Django signals, if the signal has receivers."""

    name = "signals"

    def wants(self, kind: type[Event]) -> bool:
        return kind in _SIGNALS and bool(_SIGNALS[kind].receivers)

    def handle(self, event: Any) -> None:
        if isinstance(event, TaskEnqueued):
            _send(task_enqueued, event.task, due_at=event.due_at, scheduled=event.scheduled)
        elif isinstance(event, TaskStarted):
            _send(task_started, event.run)
        elif isinstance(event, WorkerStopping):
            _raise_first(worker_stopping.send_robust(sender=None, queue=event.queue, slot=event.slot))
        else:
            error = getattr(event, "error", None)
            _send(task_finished, event.run, outcome=OUTCOME_OF[type(event)], error=error)


_subscriber: Final = SignalSubscriber()


def install() -> None:
    """Send this process's events as signals from now on."""
    bus.subscribe(_subscriber)


@contextmanager
def withheld() -> Iterator[None]:
    """Send no signals during a ``with`` block; used in managers, which a receiver could block or break."""
    is_subscribed = _subscriber in bus.subscribers()
    if is_subscribed:
        bus.unsubscribe(_subscriber)
    try:
        yield
    finally:
        if is_subscribed:
            bus.subscribe(_subscriber)


def _send(signal: TaskSignal, task: TaskRef | Run, **values: Any) -> None:
    definition = registry.find(task.processor)
    sender = None if definition is None else definition.source
    _raise_first(signal.send_robust(sender=sender, task=task, **values))


def _raise_first(results: Iterable[tuple[Any, Any]]) -> None:
    """Raise the first error of the receivers, so that the bus counts it; Django has logged each error."""
    for _receiver, result in results:
        if isinstance(result, Exception):
            raise result
