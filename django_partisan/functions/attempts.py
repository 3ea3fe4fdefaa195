"""Decide when a function runs again after an exception: ``max_attempts`` and ``backoff``."""

from typing import Any, Final

from django_partisan.config.const import DELAY_STRATEGY_EXPONENTIAL
from django_partisan.config.processor_configs import ErrorsHandleConfig

FIRST_PAUSE_SECONDS: Final = 5.0


def retry_config(max_attempts: int | None) -> ErrorsHandleConfig | None:
    """Return a rule that retries after every exception, up to ``max_attempts`` runs, with doubling delays.

    Return ``None`` if the function runs only once.
    """
    if max_attempts is None or max_attempts == 1:
        return None
    return ErrorsHandleConfig([Exception], max_attempts - 1, FIRST_PAUSE_SECONDS, DELAY_STRATEGY_EXPONENTIAL)


def pause(backoff: Any, error: BaseException, task_result: Any) -> float:
    """Call ``backoff`` and return its number of seconds, without an upper limit.

    Raises ``TypeError`` if it does not return a number that is at least 0.
    """
    seconds = backoff(error, task_result)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise TypeError(f"backoff() returned {seconds!r}; expected a number of seconds, at least 0.")
    return seconds
