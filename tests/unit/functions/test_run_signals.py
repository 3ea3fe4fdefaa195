"""The framework's signals of a run cost nothing while their only receiver is a disabled log."""

import logging
import sys
from collections.abc import Callable, Iterator
from functools import partial
from time import monotonic
from typing import Any

import pytest

from django_partisan import registry
from django_partisan.engine.judge import RunResult
from django_partisan.engine.worker.executor import Executor
from django_partisan.functions import definition
from django_partisan.functions.framework import signals
from tests.app import framework_tasks
from tests.support.engine import config_of
from tests.support.registry import Idle
from tests.support.rows import task_row

pytestmark = pytest.mark.usefixtures("own_registry", "no_subscribers")

FEW = 12
OF_A_RUN = (signals.task_started, signals.task_finished)


class Kept(Idle):
    KEEP_RESULT = True


def execute(
    name: str, arguments: str = '{"args":[],"kwargs":{}}', calls: list[str] | None = None
) -> RunResult:
    """Run a task; add to ``calls`` one entry for each function called, including those in C."""
    executor = Executor(config_of(), slot=0, generation=0, claim_times={})
    executor.started = monotonic()
    row = task_row(1, name, arguments=arguments)
    if calls is None:
        return executor.execute(row)
    sys.setprofile(lambda frame, event, argument: calls.append(event) if "call" in event else None)
    try:
        return executor.execute(row)
    finally:
        sys.setprofile(None)


def calls_of(name: str) -> int:
    """Return how many functions a run calls."""
    calls: list[str] = []
    execute(name)  # for work that is done only once
    execute(name, calls=calls)
    return len(calls)


@pytest.fixture
def log_level(caplog: pytest.LogCaptureFixture) -> Callable[[int], None]:
    """Set the level of the framework's log for the test."""
    return partial(caplog.set_level, logger=signals.logger.name)


@pytest.fixture
def own_receivers() -> Iterator[None]:
    """Isolate the test's receivers, and restore those that other modules have connected."""
    kept = [list(signal.receivers) for signal in OF_A_RUN]
    for signal in OF_A_RUN:
        signal.receivers = []
    yield
    for signal, receivers in zip(OF_A_RUN, kept, strict=True):
        signal.receivers = receivers


def connect_logs() -> None:
    """Connect the framework's own receivers."""
    for signal, log in zip(OF_A_RUN, (signals.log_task_started, signals.log_task_finished), strict=True):
        signal.connect(log)


@pytest.mark.usefixtures("own_receivers")
def test_a_run_of_a_function_that_nothing_observes_calls_hardly_more_than_that_of_a_processor(
    log_level: Callable[[int], None],
):
    registry.register(Kept)
    function = definition.register(framework_tasks.give_back)
    connect_logs()
    log_level(logging.WARNING)

    assert calls_of(function.name) <= calls_of("Kept") + FEW


@pytest.mark.parametrize(
    ("level", "task", "lines"),
    [
        (logging.INFO, framework_tasks.give_back, [("INFO", "RUNNING"), ("INFO", "SUCCESSFUL")]),
        (logging.WARNING, framework_tasks.give_back, []),
        (logging.INFO, framework_tasks.fail, [("INFO", "RUNNING"), ("ERROR", "FAILED")]),
        (logging.ERROR, framework_tasks.fail, [("ERROR", "FAILED")]),
        (logging.CRITICAL, framework_tasks.fail, []),
    ],
)
def test_the_framework_logs_what_its_level_lets_through(
    level: int, task: Any, lines: list[Any], log_level: Callable[[int], None], caplog: Any
):
    function = definition.register(task)
    log_level(level)

    execute(function.name)

    logged = [one for one in caplog.records if one.name == signals.logger.name]
    assert [(one.levelname, one.args[-1]) for one in logged] == lines
    assert all(f"id=1 path={task.module_path}" in one.getMessage() for one in logged)


@pytest.mark.usefixtures("own_receivers")
@pytest.mark.parametrize("has_log", [True, False])
def test_receivers_get_the_signals_while_the_log_is_off_and_where_it_is_disconnected(
    has_log: bool, log_level: Callable[[int], None]
):
    function = definition.register(framework_tasks.give_back)
    seen: list[Any] = []

    def receive(task_result: Any, **_: Any) -> None:
        seen.append((task_result.status, task_result.args))

    if has_log:
        connect_logs()
    for signal in OF_A_RUN:
        signal.connect(receive)
    log_level(logging.CRITICAL)

    execute(function.name, '{"args":[7],"kwargs":{}}')

    assert seen == [("RUNNING", [7]), ("SUCCESSFUL", [7])]
