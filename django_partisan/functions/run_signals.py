"""The framework's signals of a run, sent in the worker.

``task_started`` is sent for each run, ``task_finished`` when the task has completed or failed; a crash before
the outcome is stored repeats the run, and with it the signals. Receivers are user code: what they raise is
logged by Django and changes nothing for the task.

The framework connects a receiver of its own to each, which logs. If it is the only receiver and its log level
is off, the signal is not sent, because building a result costs more than the rest of a run.
"""

from typing import Any, Final

from django.core.signals import setting_changed

from django_partisan.functions.framework import AnyTask, signals

_senders: Final[dict[str, type]] = {}
"""The classes of backends by alias: to ask the framework takes a microsecond of every run, twice."""


_LOGS: Final = {
    signals.task_started: id(signals.log_task_started),
    signals.task_finished: id(signals.log_task_finished),
}
"""The receiver that the framework connects to each signal, as the signal names it."""
_INFO: Final = 20
_ERROR: Final = 40
"""The levels of ``logging``, which the core does not import, that these receivers log at."""


def is_start_received() -> bool:
    """Return whether ``task_started`` has a receiver that does anything."""
    return _is_received(signals.task_started, _INFO)


def is_end_received(has_failed: bool) -> bool:
    """Return whether ``task_finished`` has a receiver that does anything with this outcome."""
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
    if any(entry[-1] for entry in signal.receivers):  # an asynchronous one, which cannot use the database
        task_result.read()
    signal.send_robust(sender=_sender(task_result.task), task_result=task_result)


def _sender(task: AnyTask) -> type:
    sender = _senders.get(task.backend)
    if sender is None:
        sender = _senders[task.backend] = type(task.get_backend())
    return sender


def _forget(setting: str, **_: Any) -> None:
    if setting == "TASKS":
        _senders.clear()


setting_changed.connect(_forget)
