"""What a processor class says about its errors and its postpones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django_partisan.config.const import (
    DELAY_STRATEGIES,
    DELAY_STRATEGY_CONSTANT,
    DELAY_STRATEGY_INCREMENTAL,
)


@dataclass(frozen=True)
class ErrorsHandleConfig:
    """Say which errors of a run lead to a retry, how often, and after what pause.

    ``retry_pause`` is in seconds. Raises ``ValueError`` for a value that cannot work.
    """

    retry_on_errors: Sequence[type[BaseException]]
    retries_count: int
    retry_pause: float
    retry_pause_strategy: str = DELAY_STRATEGY_CONSTANT

    def __post_init__(self) -> None:
        errors = self.retry_on_errors
        if not _is_list_of_exception_classes(errors):
            _refuse(self, "retry_on_errors", errors, "a non-empty list or tuple of exception classes")
        if not _is_int(self.retries_count) or self.retries_count < 1:
            _refuse(self, "retries_count", self.retries_count, "an integer, at least 1")
        if not _is_number(self.retry_pause) or self.retry_pause < 0:
            _refuse(self, "retry_pause", self.retry_pause, "a number of seconds, at least 0")
        if self.retry_pause_strategy not in DELAY_STRATEGIES:
            allowed = " or ".join(map(repr, DELAY_STRATEGIES))
            _refuse(self, "retry_pause_strategy", self.retry_pause_strategy, allowed)
        # A tuple cannot change behind our back, and is what ``isinstance`` takes.
        object.__setattr__(self, "retry_on_errors", tuple(errors))

    def covers(self, error: BaseException) -> bool:
        """Tell whether ``error`` is one that leads to a retry."""
        return isinstance(error, tuple(self.retry_on_errors))

    def pause_before(self, retry: int) -> float:
        """Return the seconds to wait before retry number ``retry``, counted from 1."""
        if self.retry_pause_strategy == DELAY_STRATEGY_INCREMENTAL:
            return self.retry_pause * retry
        return self.retry_pause


@dataclass(frozen=True)
class PostponeConfig:
    """Say how many times a task may be postponed; ``None`` means for ever.

    Raises ``ValueError`` for a value that cannot work.
    """

    max_postpones: int | None

    def __post_init__(self) -> None:
        limit = self.max_postpones
        if limit is not None and (not _is_int(limit) or limit < 0):
            _refuse(self, "max_postpones", limit, "an integer, at least 0, or None for no limit")


def _refuse(config: object, field: str, value: object, expected: str) -> None:
    raise ValueError(f"{type(config).__name__}.{field} is {value!r}; expected {expected}.")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_int(value) or (isinstance(value, float) and value == value and value != float("inf"))


def _is_list_of_exception_classes(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(item, type) and issubclass(item, BaseException) for item in value)
    )
