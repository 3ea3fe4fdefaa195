"""When a function runs again after an error."""

import math
from typing import Any

import pytest

from django_partisan.functions import attempts


@pytest.mark.parametrize("max_attempts", [None, 1])
def test_a_function_is_not_retried_by_default(max_attempts: int | None):
    assert attempts.retry_config(max_attempts) is None


def test_the_last_of_the_attempts_is_no_retry():
    config = attempts.retry_config(5)

    assert config is not None
    assert config.retries_count == 4
    assert config.covers(ValueError())
    assert not config.covers(SystemExit())


def test_the_pause_doubles_up_to_an_hour():
    config = attempts.retry_config(5)

    assert config is not None
    pauses = [config.pause_before(retry) for retry in (1, 2, 3, 10, 11, 1_000_000)]

    assert pauses == [5, 10, 20, 2560, 3600, 3600]


@pytest.mark.parametrize("seconds", [0, 2, 1.5, math.inf, pytest.param(10**400, id="too_large")])
def test_a_backoff_is_called_with_the_error_and_the_result_and_says_the_seconds(seconds: float):
    error, result = ValueError(), object()
    seen: list[Any] = []

    def backoff(*given: Any) -> float:
        seen.extend(given)
        return seconds

    assert attempts.pause(backoff, error, result) == seconds
    assert seen == [error, result]


@pytest.mark.parametrize("returned", [None, True, "5", -1, math.nan])
def test_a_backoff_that_returns_anything_else_is_refused(returned: Any):
    with pytest.raises(TypeError, match="expected a number of seconds, at least 0"):
        attempts.pause(lambda error, result: returned, ValueError(), None)
