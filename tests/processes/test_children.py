"""Processes started by tasks behave as in any Python program, and do none of their worker's work."""

import multiprocessing
import signal
from collections.abc import Iterator

import pytest

from django_partisan.models import Task
from tests.app import child_tasks as processors
from tests.app import partisan_tasks
from tests.app.models import Note
from tests.support.rows import count_by_status
from tests.support.waiting import wait_until

from .managing import Bench


@pytest.fixture(scope="module")
def shared_bench(module_bench: Bench) -> Bench:
    """Return a bench with one worker, so that it runs one task after the other."""
    module_bench.ready(WORKERS_COUNT=1)
    return module_bench


@pytest.fixture
def serving(serving: Bench) -> Iterator[Bench]:
    """Check after each test that its tasks neither broke a pipe nor ended their worker."""
    yield serving
    [manager] = serving.managers
    assert manager.logged("worker.exited") == manager.logged("worker.pipe_broken") == []


def test_a_task_has_the_interpreters_multiprocessing_and_can_end_its_children(serving: Bench):
    task = processors.TellMultiprocessing().delay()

    serving.wait_for("left the pool")

    [seen] = serving.journal("multiprocessing")
    assert (seen["method"], seen["daemon"]) == (multiprocessing.get_all_start_methods()[0], False)
    ended = {line["method"]: line["code"] for line in serving.journal("terminated")}
    assert ended == dict.fromkeys(multiprocessing.get_all_start_methods(), -signal.SIGTERM)
    assert [line["result"] for line in serving.journal("pool")] == [[1, 2]]
    wait_until(lambda: Task.objects.get(pk=task.pk).status == "finished")


@pytest.mark.parametrize(("how", "code"), [("return", 0), ("exit", 7), ("raise", 1)])
@pytest.mark.parametrize("processor", [processors.ForkAndReturn, processors.ForkAndReturnAtomically])
def test_a_forked_child_that_leaves_run_ends_and_its_worker_notices_nothing(
    processor: type[processors.ForkAndReturn], how: str, code: int, serving: Bench
):
    processor(how).delay()
    [parent] = serving.wait_for("parent", seconds=6)
    partisan_tasks.Pass().delay()
    wait_until(lambda: count_by_status() == {"finished": 2})

    [child] = serving.journal("child")
    assert parent["code"] == code
    assert child["parent"] == parent["pid"]
    assert child["backend"] != parent["backend"]
    assert sorted(Note.objects.values_list("text", flat=True)) == ["after", "before"]
    assert set(Task.objects.values_list("attempts", "crashes")) == {(1, 0)}
