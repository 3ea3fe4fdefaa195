"""What a worker reports to its manager about code that only the worker has imported."""

import marshal
import math
from enum import Enum, IntEnum
from typing import Any

import pytest

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.engine.late_definitions import LateDefinitions, PlainDefinition, register
from django_partisan.exceptions import TaskTimeout
from tests.support.registry import Idle

pytestmark = pytest.mark.usefixtures("own_registry")


class Queue(str, Enum):
    MAIL = "mail"


class Days(IntEnum):
    ONE = 86_400


class Unequalled:
    """A value whose comparison raises an error that no check expects."""

    __hash__ = None  # type: ignore[assignment] # as for every class that defines __eq__

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not to be compared")


def registered(name: str, **attributes: Any) -> None:
    registry.register(type(name, (Idle,), attributes))


def test_each_definition_that_the_manager_does_not_know_is_described_once():
    registered("Known")
    registered("Late")
    late = LateDefinitions(["Known"])

    described = [late.take(), late.take()]
    registered("Later")
    described.append(late.take())

    assert [[values[0] for values in one] for one in described] == [["Late"], [], ["Later"]]


def test_a_definition_that_is_replaced_is_described_again_if_its_options_differ():
    registered("Known", TIMEOUT_SECONDS=1)
    registered("Late", TIMEOUT_SECONDS=2)
    late = LateDefinitions(["Known"])
    late.take()

    registered("Known", TIMEOUT_SECONDS=3)
    registered("Late", TIMEOUT_SECONDS=3)
    [replaced] = late.take()
    registered("Late", TIMEOUT_SECONDS=3)
    again = late.take()
    registered("Late", TIMEOUT_SECONDS="soon")
    registered("Late", TIMEOUT_SECONDS=2)

    assert (PlainDefinition(*replaced).name, PlainDefinition(*replaced).timeout, again) == ("Late", 3, [])
    assert [PlainDefinition(*values).timeout for values in late.take()] == [2]


def test_the_manager_gets_the_options_that_it_enforces():
    registered(
        "Late",
        QUEUE_NAME="mail",
        PRIORITY=3,
        TIMEOUT_SECONDS=2,
        KEEP_FINISHED_SECONDS=60,
        KEEP_FAILED_SECONDS=None,
        TRACE_PROPAGATION="child",
        RETRY_ON_ERROR_CONFIG=ErrorsHandleConfig([TimeoutError], 3, 7),
    )

    [values] = marshal.loads(marshal.dumps(LateDefinitions([]).take()))
    made = PlainDefinition(*values).definition()

    assert (made.name, made.queue, made.priority, made.propagation) == ("Late", "mail", 3, "child")
    assert (made.timeout, made.keep_finished, made.keep_failed) == (2.0, 60.0, math.inf)
    assert made.retry is not None
    assert (made.retry.covers(TaskTimeout()), made.retry.retries_count, made.retry.retry_pause) == (
        True,
        3,
        7,
    )


def test_a_run_over_its_limit_is_retried_as_the_queue_says_if_its_own_class_does_not_say_it():
    registered("Silent")
    registered(
        "Late", RETRY_ON_ERROR_CONFIG=ErrorsHandleConfig("*", 3, 7, retry_pause_max=60, retry_jitter=0.5)
    )
    default = ErrorsHandleConfig("*", 1, 1)

    silent, late = (PlainDefinition(*values).definition() for values in LateDefinitions([]).take())

    assert silent.retry_in(default) is default
    retry = late.retry_in(default)
    assert retry is not None
    assert (retry.retries_count, retry.retry_pause_max, retry.retry_jitter) == (3, 60, 0.5)


@pytest.mark.parametrize("retry", [None, ErrorsHandleConfig([ValueError], 3, 7), "a wrong type"])
def test_a_run_over_its_limit_is_not_retried_in_the_manager_if_it_would_not_be_in_the_worker(retry: Any):
    registered("Late", RETRY_ON_ERROR_CONFIG=retry)

    [values] = LateDefinitions([]).take()

    assert PlainDefinition(*values).definition().retry is None


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("TIMEOUT_SECONDS", "soon"),
        ("TIMEOUT_SECONDS", 0),
        ("TIMEOUT_SECONDS", -1),
        ("TIMEOUT_SECONDS", math.nan),
        pytest.param("TIMEOUT_SECONDS", 10**400, id="too_large"),
        ("KEEP_FINISHED_SECONDS", math.nan),
        ("KEEP_FAILED_SECONDS", -1),
        ("PRIORITY", 2**31),
        ("TRACE_PROPAGATION", "sometimes"),
        ("QUEUE_NAME", 5),
        ("KEEP_FAILED_SECONDS", Unequalled()),
    ],
)
def test_a_definition_with_values_that_the_system_checks_refuse_is_left_out(attribute: str, value: Any):
    registered("Wrong", **{attribute: value})
    registered("Late")

    [values] = LateDefinitions([]).take()

    assert values[0] == "Late"


def test_no_limit_and_members_of_enumerations_are_described_as_plain_values():
    registered("Late", TIMEOUT_SECONDS=math.inf, QUEUE_NAME=Queue.MAIL, KEEP_FAILED_SECONDS=Days.ONE)

    [values] = marshal.loads(marshal.dumps(LateDefinitions([]).take()))

    made = PlainDefinition(*values).definition()
    assert (made.timeout, made.queue, made.keep_failed) == (math.inf, "mail", 86_400)


def test_the_code_of_a_described_definition_cannot_be_called():
    registered("Late")
    [values] = LateDefinitions([]).take()

    with pytest.raises(RuntimeError, match="only workers have its code"):
        PlainDefinition(*values).definition().call([], {}, None)


def test_code_that_this_process_has_is_not_replaced_by_its_description():
    registered("Late", TIMEOUT_SECONDS=2)
    [values] = LateDefinitions([]).take()
    own = registry.find("Late")

    register(PlainDefinition(*values)._replace(timeout=7.0))

    assert registry.find("Late") is own
