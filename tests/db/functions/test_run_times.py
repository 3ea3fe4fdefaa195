"""When a run began, as seen by its function, ``backoff`` and the receivers of the framework's signals."""

import datetime
from collections.abc import Iterator
from typing import Any

import pytest
from django.utils import timezone

from django_partisan.backend import task_options
from django_partisan.engine.worker.executor import Executor
from django_partisan.functions.framework import base, signals
from django_partisan.testing import drain, run_pending
from tests.support.engine import config_of
from tests.support.rows import task_row

pytestmark = pytest.mark.django_db

task: Any = base.task

Seen = list[tuple[str, Any, datetime.datetime]]
seen: Seen = []
"""The receiver of each result, the result, and the time."""


def see(who: str, result: Any) -> None:
    """Record a result; its lazy attributes are not evaluated until the test reads them."""
    seen.append((who, result, timezone.now()))


def see_backoff(error: BaseException, result: Any) -> float:
    see("backoff", result)
    return 0


@task(takes_context=True)
@task_options(max_attempts=2, backoff=see_backoff)
def timed(context: Any, fails: int = 0) -> None:
    see("function", context.task_result)
    if context.attempt <= fails:
        raise ConnectionError


@task(takes_context=True)
@task_options(atomic=True)
def timed_together(context: Any) -> None:
    see("function", context.task_result)


@task(takes_context=True)
async def timed_later(context: Any) -> None:
    see("function", context.task_result)


@task
def called() -> None:
    see("function", None)


@pytest.fixture
def receivers() -> Iterator[None]:
    def started(task_result: Any, **_: Any) -> None:
        see("started", task_result)

    def finished(task_result: Any, **_: Any) -> None:
        see("finished", task_result)

    seen.clear()
    signals.task_started.connect(started)
    signals.task_finished.connect(finished)
    yield
    signals.task_started.disconnect(started)
    signals.task_finished.disconnect(finished)


@pytest.fixture
def ended() -> Iterator[None]:
    """Record only the end of each run, with no receivers of its start, not even the framework's log."""

    def finished(task_result: Any, **_: Any) -> None:
        see("finished", task_result)

    seen.clear()
    signals.task_started.disconnect(signals.log_task_started)
    signals.task_finished.connect(finished)
    yield
    signals.task_finished.disconnect(finished)
    signals.task_started.connect(signals.log_task_started)


def names() -> list[str]:
    return [who for who, _, _ in seen]


@pytest.mark.usefixtures("receivers")
@pytest.mark.parametrize("function", [timed, timed_together, timed_later])
def test_whoever_gets_a_result_of_a_run_reads_when_its_function_was_called(function: Any):
    before = timezone.now()
    function.enqueue()

    run_pending()

    assert names() == ["started", "function", "finished"]
    [begun] = {result.last_attempted_at for _, result, _ in seen}
    assert before <= begun <= seen[1][2]
    assert {result.started_at for _, result, _ in seen} == {begun}
    assert seen[2][1].finished_at >= seen[1][2]


@pytest.mark.usefixtures("ended")
def test_a_receiver_of_the_end_alone_reads_when_the_function_was_called():
    called.enqueue()

    run_pending()

    assert names() == ["function", "finished"]
    assert seen[1][1].last_attempted_at <= seen[0][2]


@pytest.mark.usefixtures("receivers")
def test_the_task_of_a_result_has_the_priority_with_which_it_was_enqueued():
    timed.using(priority=7).enqueue()

    run_pending()

    assert {result.task.priority for _, result, _ in seen} == {7}


@pytest.mark.usefixtures("receivers")
def test_backoff_and_a_receiver_read_when_the_run_began_whose_error_they_get():
    timed.enqueue(fails=2)

    drain(now=timezone.now() + datetime.timedelta(days=1), raise_errors=False)

    assert names() == ["started", "function", "backoff", "started", "function", "finished"]
    first, second = seen[:3], seen[3:]
    for run in (first, second):
        [begun] = {result.last_attempted_at for _, result, _ in run}
        assert begun <= run[1][2]
    assert first[2][2] <= second[0][1].last_attempted_at


@pytest.mark.usefixtures("receivers")
def test_the_stored_result_keeps_when_the_first_and_the_last_run_began():
    result = timed.enqueue(fails=1)

    drain(now=timezone.now() + datetime.timedelta(days=1))
    result.refresh()

    near = datetime.timedelta(seconds=0.5)
    first, last = seen[0][1], seen[-1][1]
    assert abs(result.last_attempted_at - last.last_attempted_at) < near
    assert abs(result.started_at - first.last_attempted_at) < near
    assert result.started_at < result.last_attempted_at
    assert last.started_at == result.started_at


@pytest.mark.usefixtures("receivers")
def test_a_run_whose_arguments_cannot_be_decoded_began_no_later_than_it_ended():
    row = task_row(1, timed_together.module_path, arguments="[]")

    Executor(config_of(), 1, 1, {}).execute(row)

    [(who, result, _)] = seen
    assert (who, result.status) == ("finished", base.TaskResultStatus.FAILED)
    assert result.last_attempted_at <= result.finished_at
