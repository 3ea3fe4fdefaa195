"""Signal receivers of the application: record when a task starts or ends, and raise once."""

from typing import Any

from django_partisan import signals
from tests.app import journal


def connect() -> None:
    """Connect the receivers to the signals of all processors."""
    signals.task_started.connect(on_started)
    signals.task_finished.connect(on_finished)


def on_started(sender: type | None, task: Any, **_: Any) -> None:
    if task.processor == "Measured":
        journal.write("signal", kind="started", id=task.id, sender=sender.__name__ if sender else None)


def on_finished(sender: type | None, task: Any, outcome: str, error: Any, **_: Any) -> None:
    if task.processor == "Measured":
        journal.write("signal", kind=outcome, id=task.id, sender=sender.__name__ if sender else None)
    if task.processor == "OfALoudReceiver":
        raise RuntimeError("a receiver's own fault")
