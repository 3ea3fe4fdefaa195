"""A processor's error and postpone rules refuse what could not work, and say what would."""

import dataclasses
from typing import Any

import pytest

from django_partisan.config import const
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig

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
        ("retry_pause_strategy", "exponential"),
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
