"""A cancelled task ends at once if it waits, and within a moment if it runs, in whichever manager."""

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from django_partisan.cancelling import CancelResult
from django_partisan.models import CancelRequest, Task
from django_partisan.processor import BaseTaskProcessor, bulk_delay
from tests.app import interrupted_tasks
from tests.app import partisan_tasks as processors
from tests.support.database import empty
from tests.support.waiting import let_pass, wait_until

from .managing import Bench

HOUR = 3600
"""Seconds between heartbeats: anything earlier is the effect of a notification."""


@pytest.fixture(scope="module")
def shared_bench(module_bench: Bench) -> Bench:
    for _ in range(2):
        module_bench.ready(
            LEASE_SECONDS=3 * HOUR,
            SLEEP_DELAY_SECONDS=1,
            DEFAULT_POSTPONE_DELAY_SECONDS=0.05,
            INTERRUPT_GRACE_SECONDS=1,
        )
    return module_bench


@pytest.fixture
def serving(shared_bench: Bench, db: None) -> Iterator[Bench]:
    shared_bench.clear()
    yield shared_bench
    Task.objects.all().cancel()
    wait_until(lambda: not Task.objects.all().cancellable().exists())
    empty("django_partisan_task", "django_partisan_cancel_request")


def ended(bench: Bench, *ids: int) -> list[Task]:
    """Wait until tasks have ended; return their rows."""
    tasks = Task.objects.filter(pk__in=ids)
    wait_until(
        lambda: not tasks.cancellable().exists(),
        what=lambda: f"{[str(task) for task in tasks]}\n" + "\n".join(map(str, bench.managers)),
        progress=lambda: tasks.cancellable().count(),
    )
    return list(tasks.order_by("pk"))


def test_running_tasks_of_two_managers_are_interrupted_before_the_next_heartbeat(serving: Bench):
    tasks = [interrupted_tasks.Unlimited("sleep").delay() for _ in range(4)]
    serving.wait_for("begun", 4)

    assert Task.objects.all().cancel("too long") == CancelResult(0, 4)

    for task in ended(serving, *(task.pk for task in tasks)):
        assert (task.status, task.error_reason, task.attempts, task.crashes) == ("error", "cancelled", 1, 0)
        assert task.error_message == "too long"
        assert task.history is not None
    wait_until(lambda: not CancelRequest.objects.exists())
    ids = {str(task.pk) for task in tasks}
    lines = [
        line
        for manager in serving.managers
        for action in ("task.cancelled", "task.failed")
        for line in manager.logged(action)
        if line["partisan.task.id"] in ids
    ]
    assert {(line["event.action"], line["log.level"]) for line in lines} == {("task.cancelled", "info")}
    assert {line["partisan.task.id"] for line in lines} == ids


def test_run_that_swallows_everything_is_cancelled_all_the_same(serving: Bench):
    task = interrupted_tasks.Unlimited("hold the interpreter").delay()
    serving.wait_for("begun")

    task.cancel()

    [row] = ended(serving, task.pk)
    assert (row.error_reason, row.crashes) == ("cancelled", 0)


def test_tasks_that_are_claimed_and_have_not_started_end_without_a_run(serving: Bench):
    running = [processors.Wait("gate").delay() for _ in range(4)]
    serving.wait_for("begun", 4)
    ids = bulk_delay(processors.Pass(number) for number in range(40))
    claimed = Task.objects.in_process().filter(pk__in=ids)
    wait_until(lambda: claimed.exists())

    result = Task.objects.filter(pk__in=ids).cancel()

    rows = ended(serving, *ids)
    assert sum(result) == 40
    assert {(row.status, row.error_reason, row.attempts) for row in rows} == {("error", "cancelled", 0)}
    assert serving.journal("begun", processor="Pass") == []
    serving.open("gate")
    assert {row.status for row in ended(serving, *(task.pk for task in running))} == {"finished"}


def test_task_that_would_be_postponed_for_ever_is_cancelled(serving: Bench):
    task = processors.PostponeForEver(10**6, 0.02).delay()
    serving.wait_for("begun", 3)

    task.cancel()

    [row] = ended(serving, task.pk)
    assert (row.status, row.error_reason) == ("error", "cancelled")
    before = len(serving.journal("begun"))
    let_pass(0.3)
    assert len(serving.journal("begun")) == before == row.attempts


def test_nothing_runs_after_it_was_cancelled_and_once_for_each_requeue(serving: Bench):
    """Cancel and requeue tasks that run again and again, while they wait, run, and are being settled."""
    random = Random(4711)
    ids = bulk_delay(postponing() for _ in range(40))
    serving.wait_for("begun", 40)
    cancelled: dict[int, int] = {}
    interrupted: Counter[int] = Counter()
    requeued = 0

    for task_id in random.sample(ids, len(ids)):
        task = Task.objects.get(pk=task_id)
        while not cancelled.get(task_id):
            result = task.cancel()
            if result.requested:
                interrupted[task_id] += 1
                ended(serving, task_id)
            assert sum(result) == 1
            cancelled[task_id] = runs(serving)[task_id]
            if random.random() < 0.3:
                assert task.requeue()
                requeued += 1
                serving.wait_for("begun", cancelled.pop(task_id) + 1, id=task_id)

    let_pass(0.3)
    assert {task_id: runs(serving)[task_id] for task_id in ids} == cancelled
    rows = ended(serving, *ids)
    assert {(row.status, row.error_reason) for row in rows} == {("error", "cancelled")}
    # An interruption may end a run before its code has written "begun".
    unwritten = Counter({row.pk: row.attempts for row in rows})
    unwritten.subtract(cancelled)
    assert all(0 <= number <= interrupted[task_id] for task_id, number in unwritten.items())
    assert interrupted
    assert requeued


def postponing() -> BaseTaskProcessor:
    return processors.PostponeForEver(10**6, 0.01)


def runs(bench: Bench) -> Counter[int]:
    return Counter(line["id"] for line in bench.journal("begun"))
