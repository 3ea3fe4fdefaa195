"""When a function whose run raised an exception runs again: ``max_attempts`` and ``backoff``."""

from typing import Any, Final

from django_partisan.config.processor_configs import ErrorsHandleConfig

FIRST_PAUSE_SECONDS: Final = 5.0
LONGEST_PAUSE_SECONDS: Final = 3600.0
_DOUBLINGS_MAX: Final = 20  # the longest pause comes earlier, and a power of a large number would overflow


def retry_config(max_attempts: int | None) -> ErrorsHandleConfig | None:
    """Return the rule that retries every exception, up to this many runs."""
    if max_attempts is None or max_attempts == 1:
        return None
    return ErrorsHandleConfig([Exception], max_attempts - 1, FIRST_PAUSE_SECONDS)


def default_pause(retry: int) -> float:
    """Return the seconds before retry number ``retry``, from 1: five, then twice as many each time."""
    return min(FIRST_PAUSE_SECONDS * float(2 ** min(retry - 1, _DOUBLINGS_MAX)), LONGEST_PAUSE_SECONDS)


def pause(backoff: Any, error: BaseException, task_result: Any) -> float:
    """Return what ``backoff`` says; raises ``TypeError`` if that is no number of seconds."""
    seconds = backoff(error, task_result)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise TypeError(f"backoff() returned {seconds!r}; expected a number of seconds, at least 0.")
    return float(seconds)
