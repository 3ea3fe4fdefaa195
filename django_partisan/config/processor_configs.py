"""The rules of a processor class for its errors and its postpones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django_partisan.config.const import (
    DELAY_STRATEGIES,
    DELAY_STRATEGY_CONSTANT,
    DELAY_STRATEGY_INCREMENTAL,
)
from django_partisan.config.validation import Rule, integer, one_of, or_none, seconds


@dataclass(frozen=True)
class ErrorsHandleConfig:
    """Say which errors of a run lead to a retry, how often, and after what pause.

    ``retry_pause`` is in seconds. Raises ``ValueError`` for a value that is not accepted.
    """

    retry_on_errors: Sequence[type[BaseException]]
    retries_count: int
    retry_pause: float
    retry_pause_strategy: str = DELAY_STRATEGY_CONSTANT

    def __post_init__(self) -> None:
        _validate(
            self,
            {
                "retry_on_errors": Rule(
                    _are_exception_classes, "a non-empty list or tuple of exception classes"
                ),
                "retries_count": integer(1),
                "retry_pause": seconds(0),
                "retry_pause_strategy": one_of(*DELAY_STRATEGIES),
            },
        )
        # The list that was passed can change later; a tuple cannot, and is what ``isinstance`` takes.
        object.__setattr__(self, "retry_on_errors", tuple(self.retry_on_errors))

    def covers(self, error: BaseException) -> bool:
        """Return whether ``error`` leads to a retry."""
        return isinstance(error, tuple(self.retry_on_errors))

    def pause_before(self, retry: int) -> float:
        """Return the seconds to wait before retry number ``retry``, counted from 1."""
        if self.retry_pause_strategy == DELAY_STRATEGY_INCREMENTAL:
            return self.retry_pause * retry
        return self.retry_pause


@dataclass(frozen=True)
class PostponeConfig:
    """Say how many times a task may be postponed; ``None`` means no limit.

    Raises ``ValueError`` for a value that is not accepted.
    """

    max_postpones: int | None

    def __post_init__(self) -> None:
        _validate(self, {"max_postpones": or_none(integer(0), " for no limit")})


def _validate(config: object, rules: Mapping[str, Rule]) -> None:
    for field, rule in rules.items():
        value = getattr(config, field)
        if not rule.accepts(value):
            raise ValueError(f"{type(config).__name__}.{field} is {value!r}; expected {rule.expected}.")


def _are_exception_classes(value: Any) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(isinstance(item, type) and issubclass(item, BaseException) for item in value)
    )
