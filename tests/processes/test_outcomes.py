"""The outcome of a run is written to the row, whatever the task does, and the worker survives."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from django.utils import timezone

from django_partisan.models import Task
from django_partisan.processor import BaseTaskProcessor, bulk_delay
from tests.app import partisan_tasks as processors
from tests.app.models import Note
from tests.support.rows import insert_many, number_of
from tests.support.triggers import refusing
from tests.support.waiting import wait_until

from .managing import Bench


def outcome_of(processor: BaseTaskProcessor) -> Task:
    """Enqueue a task, and return its row after its last run."""
    return done(processor.delay())


def done(task: Task) -> Task:
    wait_until(lambda: Task.objects.filter(pk=task.pk, status__in=["finished", "error"]), what=str(task))
    task.refresh_from_db()
    return task


def failure(task: Task) -> tuple[str, str | None, str | None]:
    return task.status, task.error_reason, task.error_type


def test_completed_task_is_finished(serving: Bench):
    task = outcome_of(processors.Pass(1, "two", seconds=0))

    assert (task.status, task.attempts, task.error_reason) == ("finished", 1, None)
    assert task.finished_at is not None
    assert serving.journal("begun")[0]["args"] == [1, "two"]


def test_row_of_an_unregistered_processor_is_set_aside_and_the_log_says_so(serving: Bench):
    insert_many(1, "Forgotten")
    outcome_of(processors.Pass())

    wait_until(lambda: Task.objects.held().filter(processor_class="Forgotten", attempts=0))
    [line] = serving.managers[0].wait_for("task.held")
    assert (line["partisan.processor"], line["event.reason"]) == ("Forgotten", "unregistered")


@pytest.mark.parametrize(
    ("processor", "message", "error"),
    [
        (processors.Fail("no luck"), "no luck", "ValueError"),
        (processors.FailUnprintably(), "beforebetween?after", "ValueError"),
        (processors.Exit(), "a task's own idea", "SystemExit"),
        (processors.RetryOthers(), "'not on the list'", "KeyError"),
        (processors.PostponeOddly("huge"), None, "ValueError"),
        (processors.PostponeOddly("negative"), None, "ValueError"),
        (processors.PostponeOddly("text"), None, "ValueError"),
        (processors.PostponeOddly("inf"), None, "ValueError"),
        (processors.PostponeOddly("bare"), None, "AttributeError"),
    ],
    ids=lambda value: f"{type(value).__name__} {value.args}" if isinstance(value, BaseTaskProcessor) else "",
)
def test_failing_task_fails_alone_at_once_and_keeps_its_error(
    serving: Bench, processor: BaseTaskProcessor, message: str | None, error: str
):
    before = serving.managers[0].workers()
    failed = outcome_of(processor)
    other = outcome_of(processors.Pass())

    assert (*failure(failed), failed.attempts) == ("error", "error", error, 1)
    assert message in (None, failed.error_message)
    assert f"{error}" in (failed.error_traceback or "")
    assert other.status == "finished"
    assert serving.managers[0].workers() == before


def test_tasks_that_are_requeued_while_they_fail_run_once_for_each_requeue(serving: Bench):
    ids = bulk_delay(processors.Fail(str(number)) for number in range(20))
    failing = Task.objects.filter(pk__in=ids)
    requeued: list[int] = []

    def are_enough() -> bool:
        requeued.append(failing.requeue())
        return sum(requeued) >= 60

    wait_until(are_enough)
    wait_until(lambda: number_of("error", pk__in=ids) == len(ids))

    runs = len(ids) + sum(requeued)
    assert sum(failing.values_list("attempts", flat=True)) == runs
    assert len(serving.journal("begun", processor="Fail")) == runs


@pytest.mark.parametrize(
    ("processor", "arguments"),
    [
        ("OneArgument", {"args": [1, 2], "kwargs": {}}),
        *(("Pass", arguments) for arguments in ({"args": [], "kwargs": "no"}, ["list"], "text", 7)),
    ],
)
def test_row_with_arguments_that_do_not_fit_fails_alone(serving: Bench, processor: str, arguments: Any):
    task = Task.objects.create(processor_class=processor, arguments=arguments)
    sound = processors.Pass().delay()  # the row above was not inserted by delay(), which wakes the manager

    assert failure(done(task))[:2] == ("error", "error")
    assert done(sound).status == "finished"


def test_postponed_task_runs_again_after_the_delay_it_asked_for(serving: Bench):
    task = outcome_of(processors.Postpone(1, 0.5))

    first, second = serving.journal("begun")
    assert (task.status, task.postpones, task.retries, task.attempts) == ("finished", 1, 0, 2)
    assert 0.5 <= second["at"] - first["at"] < 1.5


def test_postpone_without_seconds_uses_the_setting_of_the_queue(serving: Bench):
    outcome_of(processors.Postpone(1))

    first, second = serving.journal("begun")
    assert 0.2 <= second["at"] - first["at"] < 1.2


@pytest.mark.parametrize(
    ("processor", "allowed"), [(processors.PostponeTwice(9, 0), 2), (processors.Postpone(99, 0), 15)]
)
def test_task_postponed_more_often_than_its_processor_or_the_default_allows_fails(
    serving: Bench, processor: BaseTaskProcessor, allowed: int
):
    task = outcome_of(processor)

    assert failure(task) == ("error", "max_postpones", "django_partisan.exceptions.MaxPostponesReached")
    assert (task.postpones, task.attempts) == (allowed, allowed + 1)


def test_none_lets_a_task_be_postponed_for_ever(serving: Bench):
    task = outcome_of(processors.PostponeForEver(20, 0))

    assert (task.status, task.postpones) == ("finished", 20)


def test_postponed_task_that_meets_a_duplicate_loses_its_unique_key_and_both_run(serving: Bench):
    first = processors.Twin("gate").delay()
    serving.wait_for("begun")
    twin = processors.Twin("gate").delay(execute_after=timezone.now() + timedelta(seconds=2))
    assert twin.pk != first.pk

    serving.open("gate")
    assert done(first).status == "finished"
    assert Task.objects.get(pk=twin.pk).status == "new"
    assert done(twin).attempts == 2


def test_task_is_retried_with_a_constant_pause_and_completes(serving: Bench):
    task = outcome_of(processors.RetryConstantly(3))

    assert (task.status, task.retries, task.postpones, task.attempts) == ("finished", 3, 0, 4)
    for pause in pauses(serving):
        assert 0.1 <= pause < 0.9


def test_pause_of_the_incremental_strategy_grows_by_itself(serving: Bench):
    task = outcome_of(processors.RetryIncrementally(3))

    assert task.status == "finished"
    for number, pause in enumerate(pauses(serving), 1):
        assert 0.1 * number <= pause < 0.1 * number + 0.8


def test_task_fails_when_its_retries_are_exhausted(serving: Bench):
    task = outcome_of(processors.RetryConstantly(4))

    assert failure(task) == ("error", "retries_exhausted", "TimeoutError")
    assert (task.retries, task.attempts) == (3, 4)


def test_argument_of_a_megabyte_reaches_its_task(serving: Bench):
    outcome_of(processors.Measure("x" * 1_000_000))

    assert [line["length"] for line in serving.journal("measured")] == [1_000_000]


@pytest.fixture
def refusing_table(serving: Bench) -> Iterator[None]:
    """Refuse the outcomes of tasks with priority 77."""
    with refusing("UPDATE", "NEW.priority = 77 AND (NEW.postpones = 1 OR NEW.status = 'finished')"):
        yield


@pytest.mark.parametrize("times", [0, 1])
@pytest.mark.usefixtures("refusing_table")
def test_outcome_that_cannot_be_settled_fails_alone_and_its_batch_settles(serving: Bench, times: int):
    ids = bulk_delay(processors.Postpone(times, 0) for _ in range(20))
    culprit = processors.Postpone(times, 0).delay(priority=77)
    ids += bulk_delay(processors.Postpone(times, 0) for _ in range(20))

    assert failure(done(culprit))[:2] == ("error", "unsettleable")
    manager, its_id = serving.managers[0], str(culprit.pk)
    lines = partial(manager.logged, "task.failed")
    failed = wait_until(lambda: {line["partisan.task.id"]: line for line in lines()}.get(its_id))
    assert failed is not None
    assert failed["event.reason"] == "unsettleable"
    assert "as asked" in failed["error.message"]
    wait_until(lambda: number_of("finished", pk__in=ids, postpones=times) == 40)


def test_transaction_that_a_task_left_open_is_rolled_back_and_named(serving: Bench):
    task = outcome_of(processors.LeaveTransactionOpen())
    written = outcome_of(processors.WriteNote("after"))
    again = outcome_of(processors.WriteNote("and after"))

    assert task.status == written.status == again.status == "finished"
    assert sorted(Note.objects.values_list("text", flat=True)) == ["after", "and after"]
    [left_open] = serving.managers[0].logged("task.transaction_left_open")
    assert left_open["partisan.task.id"] == str(task.pk)
    assert "left a transaction open on the database 'default'" in left_open["message"]


def test_language_and_time_zone_of_a_task_end_with_it(serving: Bench):
    for _ in range(4):
        outcome_of(processors.Travel())

    assert {(line["language"], line["zone"]) for line in serving.journal("place")} == {
        ("en-us", "America/Chicago")
    }


def test_atomic_task_and_what_it_wrote_are_committed_together(serving: Bench):
    task = processors.Atomic("gate").delay()
    serving.wait_for("begun")
    assert not Note.objects.exists()

    serving.open("gate")
    assert done(task).attempts == 1
    assert Note.objects.get().text == "gate in attempt 1"


def test_atomic_task_that_sets_another_search_path_is_settled_in_the_schema_of_its_manager(serving: Bench):
    task = outcome_of(processors.Atomic("leave the schema"))

    assert (task.status, task.attempts) == ("finished", 1)
    assert Note.objects.count() == 1


@pytest.mark.parametrize(
    ("how", "status", "notes"),
    [
        ("fail", "error", []),
        ("retry", "finished", ["retry in attempt 2"]),
        ("postpone", "finished", ["postpone in attempt 2"]),
        ("die", "finished", ["die in attempt 2"]),
    ],
)
def test_atomic_task_that_does_not_complete_leaves_nothing(
    serving: Bench, how: str, status: str, notes: list[str]
):
    task = outcome_of(processors.Atomic(how))

    assert task.status == status
    assert list(Note.objects.values_list("text", flat=True)) == notes


@pytest.mark.parametrize(
    ("how", "outcome"),
    [
        ("complete", ("finished", None, None)),
        ("postpone", ("finished", None, None)),
        ("fail", ("error", "error", "ValueError")),
        ("exit", ("error", "error", "SystemExit")),
        ("forget to await", ("error", "error", "django_partisan.exceptions.RunNotExecuted")),
    ],
)
@pytest.mark.parametrize("processor", [processors.Asynchronous, processors.AsynchronousAndAtomic])
def test_coroutine_function_is_run_to_its_end_in_the_transaction_of_an_atomic_task(
    serving: Bench, processor: type[BaseTaskProcessor], how: str, outcome: tuple[str, str | None, str | None]
):
    before = serving.managers[0].workers()
    tasks = [outcome_of(processor(how)) for _ in range(2)]

    assert [failure(task) for task in tasks] == [outcome] * 2
    runs = sum(task.attempts for task in tasks)
    assert len(serving.journal("begun")) == runs == (4 if how == "postpone" else 2)
    assert {line["zone"] for line in serving.journal("begun")} == {"America/Chicago"}
    whole = processor is processors.AsynchronousAndAtomic
    assert Note.objects.count() == (runs if not whole else 2 if outcome[0] == "finished" else 0)
    assert serving.managers[0].workers() == before
    assert "never awaited" not in serving.managers[0].err()


def pauses(bench: Bench) -> list[float]:
    begun = [line["at"] for line in bench.journal("begun")]
    return [later - earlier for earlier, later in pairwise(begun)]
