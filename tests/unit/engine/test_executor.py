"""One run of a task: what its code sees, its outcome, and the events emitted."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from django_partisan import registry
from django_partisan.config.processor_configs import ErrorsHandleConfig
from django_partisan.engine.judge import CLAIM_LOST, RAN, RunResult
from django_partisan.engine.worker.executor import Executor
from django_partisan.exceptions import ClaimLost, PostponeTask
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.claiming import TaskRow
from django_partisan.sql.row_changes import RowChange
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events.runs import (
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
    TaskStarted,
)
from django_partisan.telemetry.events.scopes import Running
from django_partisan.telemetry.events.values import Run
from tests.support.engine import config_of
from tests.support.events import RecordedEvents, subscribed
from tests.support.rows import task_row

pytestmark = pytest.mark.usefixtures("own_registry", "no_subscribers")

mood: ContextVar[str] = ContextVar("mood", default="calm")


class Fault(Exception):
    pass


RETRY_TIMEOUTS = ErrorsHandleConfig([TimeoutError], 3, 1)


class Letter(BaseTaskProcessor):
    """A processor that does what the test says."""

    raises: BaseException | None = None
    seen: list[Any] = []

    def run(self) -> None:
        self.seen.append((self.args, self.kwargs, self.task.attempt, mood.get()))
        mood.set("changed")
        if self.raises is not None:
            raise self.raises


def register(raises: BaseException | None = None, **attributes: Any) -> Any:
    """Register a processor ``Letter`` that does what the test says."""
    return registry.register(type("Letter", (Letter,), {"raises": raises, "seen": [], **attributes}))


def execute(row: TaskRow) -> RunResult:
    executor = Executor(config_of(), slot=3, generation=5, claim_times={})
    executor.started = time.monotonic()
    return executor.execute(row)


def test_a_run_without_subscribers_completes_with_its_arguments_and_its_task():
    processor = register()

    result = execute(task_row(1, arguments='{"args": [1, "a"], "kwargs": {"b": null}}', attempts=2))

    assert result is RAN
    assert processor.seen == [((1, "a"), {"b": None}, 3, "calm")]


def test_what_a_run_leaves_in_its_context_is_dropped_before_the_next():
    processor = register()

    execute(task_row(1))
    execute(task_row(2))

    assert [seen[-1] for seen in processor.seen] == ["calm", "calm"]
    assert mood.get() == "calm"


def test_the_wait_goes_on_from_when_the_claim_came():
    executor = Executor(config_of(), 0, 1, {8: 100.0})

    assert executor.wait_of(task_row(1, token=8, wait=2.0), 103.0) == 5.0
    assert executor.wait_of(task_row(1, token=9, wait=2.0), 103.0) == 2.0
    assert executor.wait_of(task_row(1, token=8, wait=2.0), 1.0) == 0.0


@pytest.mark.parametrize("context", [None, '{"a": "b"}'])
def test_a_task_without_a_registered_processor_does_not_start_and_is_set_aside(
    context, recorded_events: RecordedEvents
):
    with subscribed(Surrounding(True, {})) as around:
        result = execute(task_row(1, "Gone", context=context, token=8))

    assert result == RunResult("held", change=RowChange.hold(1, 8, "unregistered"))
    assert result.change is not None
    assert (result.change.status, result.change.attempts) == ("new", 0)
    assert recorded_events.events == around.scopes == []


def test_arguments_that_do_not_fit_the_processor_fail_the_task():
    @registry.register
    class OneArgument(Letter):
        def __init__(self, only: int) -> None:
            super().__init__(only)

    assert execute(task_row(1, "OneArgument")).reason == "error"


@pytest.mark.parametrize(
    ("error", "event", "values"),
    [
        (None, TaskCompleted, ()),
        (PostponeTask(2, "not yet"), TaskPostponed, (2.0, "not yet")),
        (TimeoutError("slow"), TaskRetried, (1.0, 2)),
        (Fault("no ink"), TaskFailed, ("error",)),
    ],
)
def test_each_outcome_is_emitted_with_its_run_its_seconds_and_its_values(error, event, values):
    register(error, RETRY_ON_ERROR_CONFIG=RETRY_TIMEOUTS)
    row = task_row(1, priority=4, attempts=1, postpones=2, wait=0.5)
    recorded = RecordedEvents()

    with subscribed(recorded):
        result = execute(row)

    started, ended = recorded.of(TaskStarted) + recorded.of(event)
    assert len(recorded.events) == 2
    assert started.run == ended.run == Run(1, "Letter", "default", 4, 2, 0, 2, 3, 5, 0.5, None, row[2])
    assert 0 <= ended.seconds < 60
    assert ended[2 : 2 + len(values)] == values
    assert event is not TaskFailed or ended.lost is None
    if error is not None and result.error is not None:
        assert ended.error == result.error._replace(exception=error)


def test_a_failure_is_emitted_with_its_exception_which_does_not_outlive_the_run():
    error = Fault("odd")
    register(error)
    with subscribed(RecordedEvents()) as recorded:
        result = execute(task_row(1))

    [failed] = recorded.of(TaskFailed)
    assert failed.error.exception is error
    assert error.__traceback__ is not None
    assert result.error is not None
    assert result.error.exception is None


def test_a_lost_claim_is_emitted_as_no_outcome_of_the_run():
    register(ClaimLost("taken over"))
    recorded = RecordedEvents()

    with subscribed(recorded):
        assert execute(task_row(1)) == RunResult(CLAIM_LOST)

    assert [type(event) for event in recorded.events] == [TaskStarted]


class FailuresOnly(RecordedEvents):
    def wants(self, kind: type[Any]) -> bool:
        return kind is TaskFailed


def test_a_failure_is_emitted_where_no_subscriber_wants_every_run():
    register(Fault("no ink"))

    with subscribed(FailuresOnly()) as recorded:
        execute(task_row(1))

    assert [event.run.id for event in recorded.of(TaskFailed)] == [1]


class Surrounding(Subscriber):
    """Surround every run, and store headers with tasks that run again."""

    def __init__(self, every: bool, carried: dict[str, str]) -> None:
        self.scopes: list[Any] = []
        self.every = every
        self.carried = carried

    def surrounds_every_run(self) -> bool:
        return self.every

    @contextmanager
    def around(self, scope: Any) -> Iterator[None]:
        self.scopes.append(scope)
        yield

    def headers(self) -> dict[str, str]:
        return self.carried


@pytest.mark.parametrize(
    ("every", "context", "headers"),
    [
        (True, None, [None]),
        (False, '{"a": "b", "c": 1}', [{"a": "b"}]),
        (False, "[1]", [None]),
        (False, "{", [None]),
        (False, None, []),
    ],
    ids=["each is wanted", "a context with a number", "no object", "no JSON", "none is wanted"],
)
def test_a_run_is_surrounded_if_each_is_wanted_or_it_carries_a_context(every, context, headers):
    register(TRACE_PROPAGATION="child")

    with subscribed(Surrounding(every, {})) as around:
        assert execute(task_row(1, context=context)) is RAN

    assert [scope.run.headers for scope in around.scopes] == headers
    assert all(type(scope) is Running and scope.propagation == "child" for scope in around.scopes)


@pytest.mark.parametrize(
    ("error", "carried", "context"),
    [
        (PostponeTask(1), {"a": "b"}, '{"a": "b"}'),
        (PostponeTask(1), {}, None),
        (Fault(), {"a": "b"}, None),
    ],
    ids=["runs again", "nothing to carry", "does not run again"],
)
def test_only_a_task_that_runs_again_carries_what_this_run_says(error, carried, context):
    register(error)

    with subscribed(Surrounding(True, carried)):
        result = execute(task_row(1))

    assert result.change is not None
    assert result.change.context == context
