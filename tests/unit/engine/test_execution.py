"""What comes of one run of a task, and what is told of it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from django_partisan import registry
from django_partisan.config.const import DELAY_STRATEGY_INCREMENTAL
from django_partisan.config.processor_configs import ErrorsHandleConfig, PostponeConfig
from django_partisan.engine.worker.executor import (
    CLAIM_LOST,
    COMPLETED,
    LONGEST_DELAY_SECONDS,
    Executor,
    storable,
)
from django_partisan.exceptions import ClaimLost, PostponeTask
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql.claiming import TaskRow
from django_partisan.sql.settling import RowChange
from django_partisan.telemetry import bus
from django_partisan.telemetry.bus import Subscriber
from django_partisan.telemetry.events import (
    Run,
    Running,
    TaskCompleted,
    TaskFailed,
    TaskPostponed,
    TaskRetried,
    TaskStarted,
)
from tests.support.engine import config_of
from tests.support.events import RecordedEvents as Heard
from tests.support.rows import task_row as task

mood: ContextVar[str] = ContextVar("mood", default="calm")


@pytest.fixture(autouse=True)
def registry_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_classes", {})


@pytest.fixture
def nobody_listens(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(bus, "_subscribers", [])
    bus.refresh()
    yield
    monkeypatch.undo()
    bus.refresh()


class Fault(Exception):
    pass


class Letter(BaseTaskProcessor):
    """Do what the test says."""

    raises: BaseException | None = None
    seen: list[Any] = []

    def run(self) -> None:
        self.seen.append((self.args, self.kwargs, self.task.attempt, mood.get()))
        mood.set("changed")
        if self.raises is not None:
            raise self.raises


def processor(raises: BaseException | None = None, **attributes: Any) -> type[Letter]:
    """Register a processor ``Letter`` that does as told."""
    made: Any = type("Letter", (Letter,), {"raises": raises, "seen": [], **attributes})
    registry.register(made)
    kind: type[Letter] = made
    return kind


def execute(row: TaskRow, **settings: Any) -> RowChange | str:
    executor = Executor(config_of(**settings), slot=3, generation=5, claim_times={})
    executor.started = time.monotonic()
    return executor.execute(row)


def settled(row: TaskRow, **settings: Any) -> RowChange:
    outcome = execute(row, **settings)
    assert isinstance(outcome, RowChange)
    return outcome


@pytest.mark.usefixtures("nobody_listens")
def test_a_run_that_nobody_watches_completes_with_its_arguments_and_without_a_fact():
    kind = processor()

    assert execute(task(1, arguments='{"args": [1, "a"], "kwargs": {"b": null}}', attempts=2)) is COMPLETED
    assert kind.seen == [((1, "a"), {"b": None}, 3, "calm")]


def test_what_a_run_leaves_in_its_context_is_gone_before_the_next():
    kind = processor()
    execute(task(1))
    execute(task(2))

    assert [seen[-1] for seen in kind.seen] == ["calm", "calm"]
    assert mood.get() == "calm"


def test_a_run_that_is_watched_tells_that_it_started_and_completed(heard):
    processor()
    execute(
        task(1, priority=4, attempts=1, retries=1, postpones=2, wait=0.5, arguments='{"args":[],"kwargs":{}}')
    )

    [started], [completed] = heard.of(TaskStarted), heard.of(TaskCompleted)
    assert started.run == completed.run
    assert started.run == Run(1, "Letter", "default", 4, 2, 1, 2, 3, 5, 0.5, None, '{"args":[],"kwargs":{}}')
    assert 0 <= completed.seconds < 60


@pytest.mark.usefixtures("nobody_listens")
def test_a_run_is_told_also_where_nobody_wants_to_be_around_it():
    processor()
    listener = Heard()
    with listening(listener):
        execute(task(1))

    assert [type(event) for event in listener.events] == [TaskStarted, TaskCompleted]


def test_the_wait_goes_on_from_when_the_claim_came():
    executor = Executor(config_of(), 0, 1, {8: 100.0})
    executor.started = 103.0

    assert executor.wait_of(task(1, token=8, wait=2.0)) == 5.0
    assert executor.wait_of(task(1, token=9, wait=2.0)) == 2.0
    executor.started = 1.0
    assert executor.wait_of(task(1, token=8, wait=2.0)) == 0.0


def test_an_error_fails_the_task_with_its_type_message_and_traceback(heard):
    processor(Fault("no ink"))
    outcome = settled(task(1, token=8))

    name = f"{__name__}.Fault"
    assert outcome[:10] == (1, 8, "error", 0.0, 1, 0, 0, 0, "error", name)
    assert outcome.error_message == "no ink"
    assert outcome.error_traceback is not None
    assert outcome.error_traceback.rstrip().endswith("Fault: no ink")
    [failed] = heard.of(TaskFailed)
    assert (failed.run.id, failed.reason, failed.error.type) == (1, "error", name)
    assert failed.seconds >= 0
    assert heard.of(TaskCompleted) == []


@pytest.mark.usefixtures("nobody_listens")
def test_an_error_that_nobody_hears_of_fails_the_task_all_the_same():
    processor(Fault("no ink"))

    assert settled(task(1)).status == "error"


@pytest.mark.parametrize("error", [SystemExit("bye"), KeyboardInterrupt(), GeneratorExit()])
def test_an_exit_of_the_tasks_own_making_fails_the_task_and_no_more(error):
    processor(error)

    assert settled(task(1)).error_type == type(error).__name__


def test_a_task_without_a_registered_processor_fails_as_unregistered(heard):
    outcome = settled(task(1, "Gone"))

    assert (outcome.reason, outcome.retries) == ("unregistered", 0)
    assert heard.of(TaskFailed)[0].reason == "unregistered"


@pytest.mark.parametrize("context", [None, '{"a": "b"}'])
def test_a_task_without_a_registered_processor_fails_whether_or_not_it_carries_a_context(context):
    assert settled(task(1, "Gone", context=context)).reason == "unregistered"


def test_arguments_that_do_not_fit_the_processor_fail_the_task():
    class Letter(BaseTaskProcessor):
        def __init__(self, only: int) -> None:
            super().__init__(only)

    registry.register(Letter)

    assert settled(task(1)).error_type == "TypeError"


RETRIES = ErrorsHandleConfig([Fault], 2, 1.5, DELAY_STRATEGY_INCREMENTAL)


@pytest.mark.parametrize(("retries", "delay", "left"), [(0, 1.5, 1), (1, 3.0, 0)])
def test_an_error_on_the_list_is_retried_after_the_pause(retries, delay, left, heard):
    processor(Fault("no ink"), RETRY_ON_ERROR_CONFIG=RETRIES)
    outcome = settled(task(1, token=8, retries=retries))

    assert outcome[:9] == (1, 8, "new", delay, 1, 0, 1, 0, None)
    assert outcome.error_message == "no ink"
    [retried] = heard.of(TaskRetried)
    assert (retried.delay_seconds, retried.retries_left) == (delay, left)
    assert retried.error.message == "no ink"


@pytest.mark.parametrize(
    ("error", "retries", "reason"),
    [(Fault("no ink"), 2, "retries_exhausted"), (KeyError("other"), 0, "error")],
    ids=["after the last retry", "not on the list"],
)
def test_an_error_fails_the_task(error, retries, reason):
    processor(error, RETRY_ON_ERROR_CONFIG=RETRIES)
    outcome = settled(task(1, retries=retries))

    assert (outcome.status, outcome.reason, outcome.retries) == ("error", reason, 0)


def test_a_pause_before_a_retry_is_never_longer_than_a_date_can_be():
    config = ErrorsHandleConfig([Fault], 1, LONGEST_DELAY_SECONDS * 2)
    processor(Fault(), RETRY_ON_ERROR_CONFIG=config)

    assert settled(task(1)).delay == LONGEST_DELAY_SECONDS


@pytest.mark.parametrize(("asked", "delay"), [(None, 7.0), (0, 0.0), (2.5, 2.5)])
def test_a_task_that_asks_runs_again_later(asked, delay, heard):
    processor(PostponeTask(asked, "not yet"))
    outcome = settled(task(1, token=8), default_postpone_delay_seconds=7)

    assert outcome == RowChange(1, 8, "new", delay, postpones=1)
    [postponed] = heard.of(TaskPostponed)
    assert (postponed.delay_seconds, postponed.reason) == (delay, "not yet")


@pytest.mark.parametrize("asked", [-1, "soon", True, float("nan"), float("inf"), LONGEST_DELAY_SECONDS + 1])
def test_a_delay_that_no_clock_has_fails_the_task_and_names_it(asked):
    processor(PostponeTask(asked))
    outcome = settled(task(1))

    assert (outcome.status, outcome.reason, outcome.error_type) == ("error", "error", "ValueError")
    assert outcome.error_message is not None
    assert f"PostponeTask was raised with {asked!r}" in outcome.error_message


@pytest.mark.parametrize(
    ("own", "postpones", "reason"),
    [
        ({}, 1, None),
        ({}, 2, "max_postpones"),
        ({"POSTPONE_CONFIG": PostponeConfig(3)}, 2, None),
        ({"POSTPONE_CONFIG": PostponeConfig(1)}, 1, "max_postpones"),
        ({"POSTPONE_CONFIG": PostponeConfig(None)}, 999, None),
    ],
    ids=["below the queue's limit", "at the queue's limit", "own limit up", "own limit down", "for ever"],
)
def test_a_processors_limit_of_postpones_replaces_that_of_the_queue(own, postpones, reason):
    processor(PostponeTask(1), **own)
    outcome = settled(task(1, postpones=postpones), default_postpones_count=2)

    assert outcome.reason == reason
    assert outcome.status == ("new" if reason is None else "error")


def test_a_postpone_asked_for_before_there_is_a_processor_counts_by_the_queues_limit(monkeypatch):
    def ask(name: str) -> None:
        raise PostponeTask(1)

    monkeypatch.setattr(registry, "processor_class", ask)

    assert settled(task(1)).status == "new"


class Mute(PostponeTask):
    """A request that cannot be asked what it wants."""

    def __init__(self) -> None:
        Exception.__init__(self)


def test_a_request_that_cannot_be_read_fails_the_task():
    processor(Mute())

    assert settled(task(1)).error_type == "AttributeError"


def test_a_lost_claim_is_no_outcome_and_no_fact_of_a_run(heard):
    processor(ClaimLost("taken over"))

    assert execute(task(1)) == CLAIM_LOST
    assert [type(event) for event in heard.events] == [TaskStarted]


@pytest.mark.parametrize(("text", "stored"), [("a\0b", "ab"), ("a\ud800b", "a?b"), ("käse", "käse")])
def test_texts_lose_what_postgresql_cannot_hold(text, stored):
    assert storable(text) == stored


class Surrounding(Subscriber):
    """Be around every run, and have something stored with what runs again."""

    name = "surrounding"

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


@contextmanager
def listening(subscriber: Subscriber) -> Iterator[None]:
    bus.subscribe(subscriber)
    try:
        yield
    finally:
        bus.unsubscribe(subscriber)


@pytest.mark.usefixtures("nobody_listens")
@pytest.mark.parametrize(
    ("every", "context", "surrounded"),
    [(True, None, True), (False, '{"a": "b"}', True), (False, None, False)],
)
def test_a_run_is_surrounded_if_anybody_wants_each_or_it_carries_a_context(every, context, surrounded):
    processor(TRACE_PROPAGATION="child")
    around = Surrounding(every, {})
    with listening(around):
        assert execute(task(1, context=context)) is COMPLETED

    assert [type(scope) for scope in around.scopes] == [Running] * surrounded
    if surrounded:
        assert around.scopes[0].propagation == "child"
        assert around.scopes[0].run.headers == (None if context is None else {"a": "b"})


@pytest.mark.usefixtures("nobody_listens")
def test_the_run_of_an_unregistered_processor_is_surrounded_by_the_common_rule():
    around = Surrounding(True, {})
    with listening(around):
        execute(task(1, "Gone"))

    assert around.scopes[0].propagation is None


@pytest.mark.parametrize(
    ("context", "headers"),
    [
        ('{"a": "b", "c": 1}', {"a": "b"}),
        ("[1]", None),
        ("{", None),
    ],
    ids=["only strings are carried", "no object", "no JSON"],
)
def test_a_malformed_context_is_ignored(context, headers, heard):
    processor()

    assert execute(task(1, context=context)) is COMPLETED
    assert heard.of(TaskStarted)[0].run.headers == headers


@pytest.mark.usefixtures("nobody_listens")
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
    processor(error)
    with listening(Surrounding(True, carried)):
        outcome = settled(task(1))

    assert outcome.context == context
