"""The outcome of a run that raised."""

from dataclasses import replace
from typing import Any

import pytest

from django_partisan.config.const import DELAY_STRATEGY_EXPONENTIAL, DELAY_STRATEGY_INCREMENTAL
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.definitions import TaskDefinition
from django_partisan.engine.judge import (
    CLAIM_LOST,
    RunResult,
    judge,
    storable,
)
from django_partisan.exceptions import ClaimLost, PostponeTask, RetryTask
from django_partisan.moments import LONGEST_DELAY_SECONDS
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.row_changes import RowChange
from django_partisan.telemetry.events.values import ErrorInfo
from tests.support.engine import config_of
from tests.support.rows import task_row


class Fault(Exception):
    pass


RETRY = ErrorsHandleConfig([Fault], 2, 1.5, DELAY_STRATEGY_INCREMENTAL)


def judged(
    error: BaseException, retries: int = 0, postpones: int = 0, settings: Any = None, **attributes: Any
) -> tuple[RunResult, RowChange]:
    """Return the result of a run of task 1 under claim 8, and the change of its row."""
    definition = TaskDefinition.of_processor(type("Letter", (BaseTaskProcessor,), attributes))
    row = task_row(1, token=8, retries=retries, postpones=postpones)
    result = judge(error, row, definition, config_of(**(settings or {})), None)
    assert result.change is not None
    return result, result.change


@pytest.mark.parametrize(
    ("error", "retry", "retries", "reason"),
    [
        (Fault("no ink"), None, 0, "error"),
        (KeyError("other"), RETRY, 0, "error"),
        (Fault("no ink"), RETRY, 2, "retries_exhausted"),
        (SystemExit("bye"), None, 0, "error"),
        (KeyboardInterrupt(), None, 0, "error"),
    ],
    ids=["no retries", "not on the list", "after the last retry", "exit", "interrupt"],
)
def test_an_error_fails_the_task_with_its_reason(error, retry, retries, reason):
    result, change = judged(error, retries, RETRY_ON_ERROR_CONFIG=retry)

    info = ErrorInfo.of(error)
    described = (info.type, info.message, info.stack_trace)
    assert result == RunResult("failed", change=change, reason=reason, error=info)
    assert change == RowChange(1, 8, "error", 0.0, 1, 0, 0, 0, reason, *described)


@pytest.mark.parametrize(("retries", "pause", "left"), [(0, 1.5, 1), (1, 3.0, 0)])
def test_an_error_on_the_list_is_retried_after_the_pause(retries, pause, left):
    fault = Fault("no ink")

    result, change = judged(fault, retries, RETRY_ON_ERROR_CONFIG=RETRY)

    assert (result.outcome, result.delay_seconds, result.retries_left) == ("retried", pause, left)
    assert result.error == ErrorInfo.of(fault)._replace(type=f"{__name__}.Fault")
    assert change[:9] == (1, 8, "new", pause, 1, 0, 1, 0, None)
    assert change.error_message == "no ink"


@pytest.mark.parametrize("pause", [LONGEST_DELAY_SECONDS * 2, 1e308, 10**400])
def test_a_pause_before_a_retry_is_never_longer_than_a_date_can_be(pause):
    endless = ErrorsHandleConfig([Fault], 1, pause)

    assert judged(Fault(), RETRY_ON_ERROR_CONFIG=endless)[1].delay == LONGEST_DELAY_SECONDS


@pytest.mark.parametrize(("asked", "delay"), [(None, 7.0), (0, 0.0), (2.5, 2.5)])
def test_a_task_that_asks_runs_again_later(asked, delay):
    result, change = judged(PostponeTask(asked, "not yet"), settings={"default_postpone_delay_seconds": 7})

    assert change == RowChange(1, 8, "new", delay, postpones=1)
    assert result == RunResult("postponed", change=change, delay_seconds=delay, comment="not yet")


@pytest.mark.parametrize(
    "asked", [-1, "soon", True, float("nan"), float("inf"), LONGEST_DELAY_SECONDS + 1, 10**400]
)
def test_a_delay_that_no_clock_has_fails_the_task_and_names_it(asked):
    result, change = judged(PostponeTask(asked))

    assert (result.outcome, result.reason, change.error_type) == ("failed", "error", "ValueError")
    assert f"PostponeTask was raised with {asked!r}" in str(change.error_message)


@pytest.mark.parametrize(
    ("own", "postpones", "reason"),
    [
        (None, 1, ""),
        (None, 2, "max_postpones"),
        (PostponeConfig(3), 2, ""),
        (PostponeConfig(1), 1, "max_postpones"),
        (PostponeConfig(None), 999, ""),
    ],
    ids=["below the queue's limit", "at the queue's limit", "own limit up", "own limit down", "no limit"],
)
def test_a_processors_limit_of_postpones_replaces_that_of_the_queue(own, postpones, reason):
    limit = {"default_postpones_count": 2}
    result, change = judged(PostponeTask(1), 0, postpones, limit, POSTPONE_CONFIG=own)

    assert (result.reason, change.status) == (reason, "error" if reason else "new")


QUEUES = ErrorsHandleConfig("*", 1, 7)


@pytest.mark.parametrize(
    ("attributes", "outcome"),
    [
        ({}, "retried"),
        ({"RETRY_ON_ERROR_CONFIG": None}, "failed"),
        ({"RETRY_ON_ERROR_CONFIG": RETRY}, "failed"),
    ],
    ids=["sets none", "sets no retries", "sets its own"],
)
def test_the_rule_of_the_queue_is_for_processors_that_set_none(attributes, outcome):
    result, _ = judged(KeyError("other"), settings={"default_retry": QUEUES}, **attributes)

    assert result.outcome == outcome


@pytest.mark.parametrize("rule", [None, RETRY])
def test_a_class_from_which_a_processor_inherits_its_rule_sets_it(rule):
    class Base(BaseTaskProcessor):
        RETRY_ON_ERROR_CONFIG = rule

    class Mixin:
        RETRY_ON_ERROR_CONFIG = rule

    for bases in ((Base,), (Mixin, BaseTaskProcessor)):
        definition = TaskDefinition.of_processor(type("Letter", bases, {}))
        assert definition.retry_in(QUEUES) is rule
    assert TaskDefinition.of_processor(type("Letter", (BaseTaskProcessor,), {})).retry_in(QUEUES) is QUEUES


@pytest.mark.parametrize(("retries", "pause"), [(0, 5.0), (1, 10.0), (2, 20.0)])
def test_a_run_without_a_rule_that_asks_is_retried_three_times(retries, pause):
    result, change = judged(RetryTask(), retries)

    assert (result.outcome, result.delay_seconds, result.retries_left) == ("retried", pause, 2 - retries)
    assert (change.retries, change.postpones, change.attempts) == (1, 0, 1)
    assert change.error_type == "django_partisan.exceptions.RetryTask"
    assert judged(RetryTask(), 3)[0].reason == "retries_exhausted"


def test_a_run_that_asks_is_retried_whatever_the_lists_say_and_no_more_often_than_its_rule():
    rule = ErrorsHandleConfig([Fault], 2, 1.5, never_retry_on=[RetryTask, KeyError])
    request = RetryTask(error=KeyError("other"))

    for retries, outcome in ((0, "retried"), (1, "retried"), (2, "failed")):
        assert judged(request, retries, RETRY_ON_ERROR_CONFIG=rule)[0].outcome == outcome
    assert judged(request, 1, settings={"default_retry": QUEUES})[0].reason == "retries_exhausted"


@pytest.mark.parametrize("retries", [0, 3])
def test_the_row_shows_the_error_that_the_request_names(retries):
    result, change = judged(RetryTask(1, Fault("no ink")), retries)

    assert (change.error_type, change.error_message) == (f"{__name__}.Fault", "no ink")
    assert result.error is not None
    assert result.error.message == "no ink"


@pytest.mark.parametrize(("asked", "pause"), [(0, 4.0), (3, 4.0), (60, 60.0), (0.5, 4.0)])
def test_a_run_is_not_retried_before_it_asked_for_it_nor_before_the_pause_of_its_rule(asked, pause):
    rule = ErrorsHandleConfig([Fault], 2, 10, DELAY_STRATEGY_EXPONENTIAL, retry_pause_max=4)

    assert judged(RetryTask(asked), RETRY_ON_ERROR_CONFIG=rule)[1].delay == pause


def test_a_jitter_does_not_bring_a_retry_before_the_seconds_that_it_asked_for():
    rule = ErrorsHandleConfig([Fault], 2, 10, retry_jitter=1)

    assert all(judged(RetryTask(9), RETRY_ON_ERROR_CONFIG=rule)[1].delay >= 9 for _ in range(50))


@pytest.mark.parametrize("asked", [-1, "soon", True, float("nan"), LONGEST_DELAY_SECONDS + 1])
def test_a_pause_that_no_clock_has_fails_the_task_and_names_it(asked):
    result, change = judged(RetryTask(asked))

    assert (result.outcome, result.reason, change.error_type) == ("failed", "error", "ValueError")
    assert f"RetryTask was raised with {asked!r} seconds" in str(change.error_message)


def test_the_class_of_an_error_is_accepted_as_in_a_raise_statement():
    _, change = judged(RetryTask(60, error=TimeoutError))

    assert (change.status, change.error_type, change.error_message) == ("new", "TimeoutError", "")


@pytest.mark.parametrize("wrong", ["no ink", int, Fault("no ink").args])
def test_an_error_that_is_none_is_refused_where_the_request_is_made(wrong: Any):
    with pytest.raises(TypeError) as refused:
        RetryTask(error=wrong)

    assert str(refused.value) == (
        f"RetryTask: error is {wrong!r}; expected an exception or an exception class."
    )


def test_a_task_that_may_run_only_once_is_not_retried():
    definition = replace(TaskDefinition.of_processor(BaseTaskProcessor), may_retry=False)

    result = judge(RetryTask(), task_row(1), definition, config_of(), None)

    assert (result.outcome, result.reason) == ("failed", "retries_exhausted")


class Mute(PostponeTask):
    """A postpone request without the base class's attributes."""

    def __init__(self) -> None:
        Exception.__init__(self)


def test_a_request_that_cannot_be_read_fails_the_task():
    assert judged(Mute())[1].error_type == "AttributeError"


def test_after_a_lost_claim_there_is_no_outcome_and_nothing_to_write():
    definition = TaskDefinition.of_processor(BaseTaskProcessor)

    assert judge(ClaimLost(), task_row(1), definition, config_of(), None) == RunResult(CLAIM_LOST)


def test_a_list_of_errors_of_the_wrong_type_hides_no_error_of_the_task():
    _, change = judged(Fault("no ink"), RETRY_ON_ERROR_CONFIG={"retry_on_errors": [Fault]})

    assert (change.error_type, change.error_message) == (ErrorInfo.of(Fault()).type, "no ink")


@pytest.mark.parametrize(("text", "stored"), [("a\0b", "ab"), ("a\ud800b", "a?b"), ("käse", "käse")])
def test_texts_lose_what_postgresql_cannot_hold(text, stored):
    assert storable(text) == stored
