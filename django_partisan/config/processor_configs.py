"""The retry and postpone configuration of a processor class."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import Any, Final, cast

from django_partisan.config.const import (
    DELAY_STRATEGIES,
    DELAY_STRATEGY_CONSTANT,
    DELAY_STRATEGY_EXPONENTIAL,
    DELAY_STRATEGY_INCREMENTAL,
)
from django_partisan.config.validation import Rule, integer, one_of, or_none, seconds
from django_partisan.moments import LONGEST_DELAY_SECONDS

EVERY_ERROR: Final = "*"
EXPONENTIAL_PAUSE_MAX: Final = 3600.0
"""The longest pause of the exponential strategy in seconds, unless ``retry_pause_max`` is set."""

_DOUBLINGS_MAX: Final = 900
# Not the default generator: tasks may seed it, and forked workers inherit its state.
_random: Final = SystemRandom()


@dataclass(frozen=True)
class ErrorsHandleConfig:
    """The retry policy: which errors lead to a retry, how many times, and after what pause.

    ``retry_on_errors`` may be ``"*"`` for every ``Exception``; ``never_retry_on`` takes precedence. Pauses
    are in seconds; none is longer than ``retry_pause_max``, by default 3600 for the exponential strategy.
    Each pause is multiplied by a random number from 1 - ``retry_jitter`` to 1. Raises ``ValueError`` for a
    value that is not accepted.
    """

    retry_on_errors: Sequence[type[BaseException]] | str
    retries_count: int
    retry_pause: float
    retry_pause_strategy: str = DELAY_STRATEGY_CONSTANT
    retry_pause_max: float | None = None
    retry_jitter: float = 0.0
    never_retry_on: Sequence[type[BaseException]] = ()

    def __post_init__(self) -> None:
        _validate(self, _RULES)
        # The caller could change its list later. ``isinstance`` needs a tuple.
        errors = (Exception,) if self.retry_on_errors == EVERY_ERROR else tuple(self.retry_on_errors)
        object.__setattr__(self, "retry_on_errors", errors)
        object.__setattr__(self, "never_retry_on", tuple(self.never_retry_on))

    def covers(self, error: BaseException) -> bool:
        """Return whether ``error`` leads to a retry."""
        listed = cast("tuple[type[BaseException], ...]", self.retry_on_errors)
        return isinstance(error, listed) and not isinstance(error, tuple(self.never_retry_on))

    def pause_before(self, retry: int) -> float:
        """Return the pause before retry number ``retry`` (from 1) in seconds; with a jitter it is random."""
        pause = min(self._growing_pause(retry), self._longest_pause)
        return pause * (1 - self.retry_jitter * _random.random()) if self.retry_jitter else pause

    @property
    def _longest_pause(self) -> float:
        most = self.retry_pause_max
        if most is None and self.retry_pause_strategy == DELAY_STRATEGY_EXPONENTIAL:
            return EXPONENTIAL_PAUSE_MAX
        return LONGEST_DELAY_SECONDS if most is None else min(most, LONGEST_DELAY_SECONDS)

    def _growing_pause(self, retry: int) -> float:
        """Return the pause without jitter; above the longest one it need not be exact: it is capped."""
        if self.retry_pause_strategy == DELAY_STRATEGY_INCREMENTAL:
            return self.retry_pause * retry
        if self.retry_pause_strategy == DELAY_STRATEGY_EXPONENTIAL and self.retry_pause < self._longest_pause:
            # This many doublings exceed the longest pause; more would overflow.
            return math.ldexp(self.retry_pause, min(retry - 1, _DOUBLINGS_MAX))
        return self.retry_pause


@dataclass(frozen=True)
class PostponeConfig:
    """The limit on how many times a task may be postponed; ``None`` means no limit.

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
    return isinstance(value, list | tuple) and all(
        isinstance(item, type) and issubclass(item, BaseException) for item in value
    )


_RULES: Final[Mapping[str, Rule]] = {
    "retry_on_errors": Rule(
        lambda value: value == EVERY_ERROR or (_are_exception_classes(value) and len(value) > 0),
        f"a non-empty list or tuple of exception classes, or {EVERY_ERROR!r} for every Exception",
    ),
    "retries_count": integer(1),
    "retry_pause": seconds(0, math.inf),
    "retry_pause_strategy": one_of(*DELAY_STRATEGIES),
    "retry_pause_max": or_none(seconds(0, math.inf)),
    "retry_jitter": Rule(lambda value: seconds(0, 1).accepts(value), "a number from 0 to 1"),
    "never_retry_on": Rule(_are_exception_classes, "a list or tuple of exception classes"),
}
