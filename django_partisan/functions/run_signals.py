"""The framework's signals of a run, sent in the worker.

``task_started`` is sent for each run, ``task_finished`` when the task has completed or failed; a crash before
the outcome is stored repeats the run, and with it the signals. Receivers are user code: what they raise is
logged by Django and changes nothing for the task.
"""

from typing import Any

from django_partisan.functions.framework import signals


def started(task_result: Any) -> None:
    """Send ``task_started``."""
    _send(signals.task_started, task_result)


def finished(task_result: Any) -> None:
    """Send ``task_finished``."""
    _send(signals.task_finished, task_result)


def _send(signal: Any, task_result: Any) -> None:
    if any(entry[-1] for entry in signal.receivers):  # an asynchronous one, which cannot use the database
        task_result.read()
    signal.send_robust(sender=type(task_result.task.get_backend()), task_result=task_result)
