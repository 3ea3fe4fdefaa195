"""The setting ``PARTISAN_IMMEDIATE``.

The value is cached, because every ``delay()`` reads it and Django takes 1 us to find that a setting is
missing. ``override_settings`` clears the cache.
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
"""The cached value; ``None`` until it is first read."""


def mode() -> bool | str:
    """Return ``False``, ``True`` or ``'raise'``; raise ``WrongSetting`` for another value."""
    global _mode
    if _mode is None:
        refuse(problems())
        _mode = _setting_value()
    return _mode


def disable_in_worker() -> None:  # pragma: no cover: child process
    """Ignore the setting in this worker process: any worker may run the tasks that its runs enqueue."""
    global _mode
    _mode = False


def _reset_cache(setting: str, **_: Any) -> None:
    global _mode
    if setting == NAME:
        _mode = None


setting_changed.connect(_reset_cache)


def problems() -> Iterator[Problem]:
    """Yield a problem if the value is not accepted."""
    yield from SETTING.problems(WRONG_VALUE, NAME, _setting_value())


def problems_of_deployment() -> Iterator[Problem]:
    """Yield a warning if tasks would run in the web server's processes."""
    if _setting_value() is not False:
        yield Problem(IMMEDIATE_IN_PRODUCTION, NAME, _setting_value(), "False in production")


def _setting_value() -> Any:
    return getattr(settings, NAME, False)
