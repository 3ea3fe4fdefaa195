"""A processor's retry and postpone rules refuse what could not work, and say what would."""

import dataclasses
import random
from typing import Any

import pytest

from django_partisan.config import const
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.moments import LONGEST_DELAY_SECONDS

RIGHT: dict[str, Any] = {"retry_on_errors": [TimeoutError], "retries_count": 3, "retry_pause": 3}


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("retry_on_errors", []),
        ("retry_on_errors", TimeoutError),
        ("retry_on_errors", ["TimeoutError"]),
        ("retry_on_errors", [TimeoutError()]),
        ("retry_on_errors", [int]),
        ("retry_on_errors", {TimeoutError}),
        ("retries_count", 0),
        ("retries_count", 1.0),
        ("retries_count", True),
        ("retries_count", None),
        ("retry_pause", -1),
        ("retry_pause", "3"),
        ("retry_pause", False),
        ("retry_pause", float("nan")),
        ("retry_pause", float("inf")),
        ("retry_on_errors", "**"),
        ("retry_pause_strategy", "quadratic"),
        ("retry_pause_max", -1),
        ("retry_pause_max", "60"),
        ("retry_jitter", -0.1),
        ("retry_jitter", 1.1),
        ("retry_jitter", True),
        ("retry_jitter", None),
        ("never_retry_on", None),
        ("never_retry_on", "*"),
        ("never_retry_on", [int]),
        ("retry_pause_strategy", None),
    ],
)
def test_a_wrong_field_is_refused_by_name_with_its_value_and_what_is_allowed(field, wrong):
    with pytest.raises(ValueError, match=rf"^ErrorsHandleConfig\.{field} is ") as refused:
        ErrorsHandleConfig(**RIGHT | {field: wrong})

    assert repr(wrong) in str(refused.value)
    assert "; expected " in str(refused.value)


@pytest.mark.parametrize("wrong", [-1, 1.5, True, "5"])
def test_a_wrong_limit_of_postpones_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=r"^PostponeConfig\.max_postpones is .*at least 0, or None"):
        PostponeConfig(max_postpones=wrong)


@pytest.mark.parametrize("limit", [0, 5, None])
def test_zero_a_number_and_none_limit_postpones(limit):
    assert PostponeConfig(max_postpones=limit).max_postpones == limit


def test_configs_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        ErrorsHandleConfig(**RIGHT).retries_count = 9  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError):
        PostponeConfig(1).max_postpones = 9  # type: ignore[misc]


def test_errors_of_the_listed_classes_and_their_subclasses_are_covered_whatever_becomes_of_the_list():
    errors: list[type[BaseException]] = [OSError, KeyError]
    config = ErrorsHandleConfig(errors, 1, 1)

    errors[:] = [ValueError]

    assert [config.covers(kind()) for kind in (TimeoutError, KeyError, ValueError)] == [True, True, False]


@pytest.mark.parametrize(
    ("config", "pauses"),
    [
        (RIGHT, [3, 3, 3]),
        (RIGHT | {"retry_pause": 0}, [0, 0, 0]),
        (RIGHT | {"retry_pause": 0.5}, [0.5, 0.5, 0.5]),
        (RIGHT | {"retry_pause_strategy": const.DELAY_STRATEGY_CONSTANT}, [3, 3, 3]),
        (RIGHT | {"retry_pause_strategy": const.DELAY_STRATEGY_INCREMENTAL}, [3, 6, 9]),
    ],
)
def test_the_pause_stays_or_grows_with_each_retry_as_the_strategy_says(config, pauses):
    assert [ErrorsHandleConfig(**config).pause_before(retry) for retry in (1, 2, 3)] == pauses


def test_a_star_covers_every_exception_and_no_other_end():
    config = ErrorsHandleConfig("*", 1, 1)

    assert [config.covers(one) for one in (ValueError(), TimeoutError(), SystemExit())] == [True, True, False]


@pytest.mark.parametrize("errors", ["*", [OSError]])
def test_an_error_that_is_never_retried_is_not_covered(errors: Any):
    config = ErrorsHandleConfig(errors, 1, 1, never_retry_on=[PermissionError])

    assert config.covers(ConnectionError())
    assert not config.covers(PermissionError())


@pytest.mark.parametrize(
    ("pause", "most", "pauses"),
    [
        (5, None, [5, 10, 20, 40, 3600, 3600]),
        (0.5, 3, [0.5, 1, 2, 3, 3, 3]),
        (7200, None, [3600] * 6),
        (7200, 10_000, [7200, 10_000, 10_000, 10_000, 10_000, 10_000]),
        (0, None, [0] * 6),
        (10**400, 10**401, [LONGEST_DELAY_SECONDS] * 6),
        (5, 0, [0] * 6),
    ],
)
def test_an_exponential_pause_doubles_up_to_its_longest_and_never_overflows(pause, most, pauses):
    config = ErrorsHandleConfig("*", 10**9, pause, const.DELAY_STRATEGY_EXPONENTIAL, retry_pause_max=most)

    assert [config.pause_before(retry) for retry in (1, 2, 3, 4, 1000, 10**9)] == pauses


@pytest.mark.parametrize(
    ("strategy", "pauses"),
    [(const.DELAY_STRATEGY_CONSTANT, [3, 3, 3]), (const.DELAY_STRATEGY_INCREMENTAL, [3, 5, 5])],
)
def test_the_longest_pause_holds_for_every_strategy(strategy, pauses):
    config = ErrorsHandleConfig("*", 3, 3, strategy, retry_pause_max=5)

    assert [config.pause_before(retry) for retry in (1, 2, 3)] == pauses


def test_a_jitter_shortens_each_pause_by_a_random_part_of_it():
    config = ErrorsHandleConfig("*", 9, 100, const.DELAY_STRATEGY_INCREMENTAL, 150, 0.5)

    first, second = ([config.pause_before(retry) for _ in range(200)] for retry in (1, 2))

    assert 50 <= min(first) < 60 < 90 < max(first) <= 100
    assert 75 <= min(second) < 90 < 135 < max(second) <= 150
    assert all(0 <= ErrorsHandleConfig("*", 9, 1, retry_jitter=1).pause_before(1) <= 1 for _ in range(200))


def test_a_jitter_does_not_follow_the_seed_of_a_task():
    config = ErrorsHandleConfig("*", 9, 100, retry_jitter=1)

    pauses = set()
    for _ in range(3):
        random.seed(4711)
        pauses.add(config.pause_before(1))

    assert len(pauses) == 3
