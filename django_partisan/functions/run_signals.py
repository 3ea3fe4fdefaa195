"""Send the framework's signals for a run, in the worker.

``task_started`` is sent for each run, and ``task_finished`` when the task has completed or failed. After a
crash before the outcome is stored, the run is repeated and the signals are sent again. Receivers are user
code: Django logs the exceptions that they raise, and the task is not affected.

The framework connects a logging receiver to each signal. If that is the only receiver and its log level is
disabled, the signal is not sent, because building a result costs more than the rest of a run.
"""

from typing import Any, Final

from django.core.signals import setting_changed

from django_partisan.functions.framework import AnyTask, signals

_senders: Final[dict[str, type]] = {}
"""The backend classes by alias, cached because the framework's look-up takes 1 µs, and each run needs two."""


_LOGS: Final = {
    signals.task_started: id(signals.log_task_started),
    signals.task_finished: id(signals.log_task_finished),
}
"""The receiver that the framework connects to each signal, by the id under which the signal lists it."""
_INFO: Final = 20
_ERROR: Final = 40
"""The levels at which these receivers log; the core does not import ``logging``."""


def is_start_received() -> bool:
    """Return whether ``task_started`` has a receiver that does anything."""
    return _is_received(signals.task_started, _INFO)


def is_end_received(has_failed: bool) -> bool:
    """Return whether ``task_finished`` has a receiver that does anything for this outcome."""
    return _is_received(signals.task_finished, _ERROR if has_failed else _INFO)


def started(task_result: Any) -> None:
    """Send ``task_started``."""
    _send(signals.task_started, task_result)


def finished(task_result: Any) -> None:
    """Send ``task_finished``."""
    _send(signals.task_finished, task_result)


def _is_received(signal: Any, level: int) -> bool:
    receivers = signal.receivers
    if len(receivers) == 1 and receivers[0][0][0] == _LOGS[signal]:
        return signals.logger.isEnabledFor(level)
    return bool(receivers)


def _send(signal: Any, task_result: Any) -> None:
    if any(entry[-1] for entry in signal.receivers):  # an asynchronous one, which cannot query the database
        task_result.read()
    signal.send_robust(sender=_sender(task_result.task), task_result=task_result)


def _sender(task: AnyTask) -> type:
    sender = _senders.get(task.backend)
    if sender is None:
        sender = _senders[task.backend] = type(task.get_backend())
    return sender


def _reset_cache(setting: str, **_: Any) -> None:
    if setting == "TASKS":
        _senders.clear()


setting_changed.connect(_reset_cache)
