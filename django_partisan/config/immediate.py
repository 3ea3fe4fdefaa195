"""The setting ``PARTISAN_IMMEDIATE``.

Every ``delay()`` needs it, and Django takes 1 us to find that a setting is missing. So it is read once, and
again after ``override_settings`` has changed it.
"""

from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.core.signals import setting_changed

from django_partisan.config.problems import IMMEDIATE_IN_PRODUCTION, WRONG_VALUE, Problem, refuse
from django_partisan.config.validation import Rule, Setting

NAME: Final = "PARTISAN_IMMEDIATE"
RAISE: Final = "raise"
SETTING: Final = Setting(
    False,
    Rule(lambda value: isinstance(value, bool) or value == RAISE, "True, False or 'raise'"),
    "Run each task in the process that enqueues it, after the commit, instead of leaving it to a manager. "
    "`'raise'` also raises the error that fails a task. Set it for development and tests only.",
)

_mode: bool | str | None = None
"""``None`` until it is read."""


def mode() -> bool | str:
    """Return ``False``, ``True`` or ``'raise'``; raise ``WrongSetting`` for another value."""
    global _mode
    if _mode is None:
        refuse(problems())
        _mode = _given()
    return _mode


def switch_off_here() -> None:  # pragma: no cover: child process
    """Ignore the setting in this process: it is a worker, and tasks of tasks are for every worker."""
    global _mode
    _mode = False


def _forget(setting: str, **_: Any) -> None:
    global _mode
    if setting == NAME:
        _mode = None


setting_changed.connect(_forget)


def problems() -> Iterator[Problem]:
    """Yield the problem of a value that is not accepted."""
    yield from SETTING.problems(WRONG_VALUE, NAME, _given())


def problems_of_deployment() -> Iterator[Problem]:
    """Yield, for a warning, that tasks would run in the web server's processes."""
    if _given() is not False:
        yield Problem(IMMEDIATE_IN_PRODUCTION, NAME, _given(), "False in production")


def _given() -> Any:
    return getattr(settings, NAME, False)
