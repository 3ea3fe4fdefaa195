"""Processes that are killed: a worker, the fork server, the manager, all of them."""

import os
import shutil
import signal
import time
from typing import Any

from django_partisan.models import ManagerLease, Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.app.models import Note
from tests.processes.observability.lines import checked
from tests.support.rows import columns, number_of
from tests.support.waiting import wait_until

from .managing import Bench, processes


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def test_killed_worker_is_replaced_at_once_and_its_task_runs_again(bench: Bench):
    manager = bench.ready()
    task = processors.Wait("gate").delay()
    [victim] = [line["pid"] for line in bench.wait_for("begun")]
    [other] = set(manager.workers()) - {victim}

    kill(victim)
    manager.wait_for("worker.ready", 3, seconds=5)
    bench.open("gate")
    wait_until(lambda: Task.objects.filter(pk=task.pk, status="finished"))

    task.refresh_from_db()
    assert (task.attempts, task.crashes) == (2, 1)
    crashed, completed = columns(task.pk, "history")
    assert (crashed["outcome"], crashed["reason"], crashed["attempt"]) == ("crashed", "worker_lost", 1)
    assert crashed["worker"].endswith(f":{victim}")
    assert crashed["ended_at"] > crashed["started_at"]
    assert (completed["outcome"], completed["worker"]) == ("completed", task.worker)
    [exited] = manager.logged("worker.exited")
    assert (exited["event.reason"], exited["partisan.worker.signal"]) == ("signal", "SIGKILL")
    assert exited["partisan.task.id"] == str(task.pk)
    assert [event["event.reason"] for event in manager.logged("task.rescued")] == ["worker_lost"]
    assert other in manager.workers()


def test_task_may_kill_max_crashes_workers_one_more_fails_it_and_no_other_task_is_disturbed(bench: Bench):
    manager = bench.ready(WORKERS_COUNT=3, MAX_CRASHES=2)
    calm = bulk_delay(processors.Wait("gate", index) for index in range(2))
    bench.wait_for("begun", 2)
    deadly, bearable = processors.Die(9).delay(), processors.Die(2).delay()
    manager.wait_for("task.failed")
    wait_until(lambda: Task.objects.filter(pk=bearable.pk, status="finished"))

    deadly.refresh_from_db()
    bearable.refresh_from_db()
    assert (deadly.status, deadly.error_reason) == ("error", "worker_lost")
    assert (deadly.attempts, deadly.crashes) == (3, 3)
    assert (bearable.attempts, bearable.crashes) == (3, 2)
    assert len(bench.journal("begun", id=deadly.pk)) == 3

    bench.open("gate")
    wait_until(lambda: number_of("finished", pk__in=calm, attempts=1, crashes=0) == 2)
    assert len(bench.journal("begun", processor="Wait")) == 2


def test_what_waits_behind_a_task_that_kills_its_worker_counts_no_crash(bench: Bench):
    bench.ready(WORKERS_COUNT=1)
    bulk_delay(processors.Pass(index) for index in range(200))
    wait_until(lambda: number_of("finished") == 200)
    ids = bulk_delay([processors.Pass("a"), processors.Die(1), *(processors.Pass(n) for n in range(50))])

    wait_until(lambda: number_of("finished", pk__in=ids) == len(ids))
    assert list(Task.objects.filter(crashes__gt=0).values_list("processor_class", "crashes")) == [("Die", 1)]
    assert max(len(bench.journal("begun", id=pk)) for pk in ids if pk != ids[1]) == 1


def test_worker_killed_with_more_on_its_way_than_the_pipe_takes_loses_nothing(bench: Bench):
    bench.ready(MAX_QUEUE_SIZE=60)
    bulk_delay(processors.Measure(str(number)) for number in range(200))
    wait_until(lambda: number_of("finished") == 200)
    first = processors.Wait("gate").delay(priority=0)
    [victim] = [line["pid"] for line in bench.wait_for("begun")]
    os.kill(victim, signal.SIGSTOP)
    bulk_delay(processors.Measure(str(number) * 200_000) for number in range(100))

    wait_until(lambda: number_of("finished") > 250)
    kill(victim)
    bench.open("gate")
    wait_until(lambda: number_of("finished") == 301)

    assert list(Task.objects.filter(crashes__gt=0).values_list("pk", flat=True)) == [first.pk]
    assert Task.objects.filter(attempts=1, crashes=0).count() == 300


def test_killed_fork_server_costs_no_task_and_is_replaced(bench: Bench):
    manager = bench.ready(TASKS_PER_WORKER_INSTANCE=3)
    held = bulk_delay(processors.Wait("gate", index) for index in range(2))
    bench.wait_for("begun", 2)
    before = manager.workers()

    kill(manager.fork_server())
    more = bulk_delay(processors.Pass(index) for index in range(10))
    assert manager.workers() == before
    bench.open("gate")
    wait_until(lambda: number_of("finished", pk__in=held + more) == 12)

    assert set(Task.objects.values_list("attempts", "crashes")) == {(1, 0)}
    assert not set(before) & set(manager.workers())
    assert {event["event.reason"] for event in manager.logged("worker.exited")} == {"recycled"}
    assert manager.stop() == 0
    assert {event["event.reason"] for event in manager.logged("worker.exited")} == {"recycled", "stopped"}
    assert manager.err().count("\n") == 1


def test_workers_are_replaced_after_the_temporary_folder_was_swept(bench: Bench):
    manager = bench.ready()
    for swept in bench.temporary.iterdir():
        shutil.rmtree(swept)
    victim, survivor = manager.workers()

    kill(victim)
    manager.wait_for("worker.ready", 3)
    bulk_delay(processors.Wait("gate", index) for index in range(2))
    begun = bench.wait_for("begun", 2)
    bench.open("gate")

    assert survivor in {line["pid"] for line in begun}
    assert manager.logged("worker.start_failed") == []
    assert manager.stop() == 0
    assert list(bench.temporary.iterdir()) == []


def test_stop_after_the_fork_server_was_killed_counts_no_worker_as_dead(bench: Bench):
    manager = bench.ready()
    kill(manager.fork_server())

    assert manager.stop() == 0
    assert [event["event.reason"] for event in manager.logged("worker.exited")] == ["stopped", "stopped"]


def test_after_a_kill_of_everything_interrupted_tasks_run_first_and_soon(bench: Bench):
    first = bench.ready()
    ids = bulk_delay(processors.Wait("gate", index) for index in range(6))
    begun = {line["id"] for line in bench.wait_for("begun", 2)}
    wait_until(lambda: number_of("in_process") == 6)
    first.send_to_group(signal.SIGKILL)
    wait_until(first.is_gone)
    urgent = bulk_delay((processors.Pass(index) for index in range(20)), priority=-100)
    bench.open("gate")

    second = bench.start(WORKERS_COUNT=1)
    second.wait_for("worker.ready")
    ready_at = time.monotonic()
    wait_until(lambda: number_of("finished") == 26)

    order = [line["id"] for line in bench.journal("begun")][2:]
    assert set(order[:6]) == set(ids)
    assert order[6:] == urgent
    assert bench.journal("begun")[7]["at"] < ready_at + 2
    assert dict(Task.objects.filter(pk__in=ids).values_list("pk", "crashes")) == {
        pk: int(pk in begun) for pk in ids
    }
    rescued = [line for line in checked(second.out()) if line["event.action"] == "task.rescued"]
    assert {line["event.reason"] for line in rescued} == {"manager_lost"}
    assert len({line["partisan.manager.previous"] for line in rescued}) == 1
    assert [path.stem for path in bench.presence().iterdir()] == [
        str(lease.lock_name) for lease in ManagerLease.objects.all()
    ]


def test_child_that_a_task_leaves_behind_does_not_keep_a_dead_manager_alive(bench: Bench):
    first = bench.ready(WORKERS_COUNT=1)
    task = processors.LeaveChild("gate").delay()
    [forked] = bench.wait_for("forked")
    first.send_to_group(signal.SIGKILL)
    wait_until(first.is_gone)

    second = bench.start(WORKERS_COUNT=1)
    [rescued] = second.wait_for("task.rescued", seconds=10)

    assert rescued["partisan.task.id"] == str(task.pk)
    assert forked["child"] in {process.pid for process in processes()}
    bench.open("gate")
    wait_until(lambda: number_of("finished", attempts=2, crashes=1) == 1)
    wait_until(lambda: forked["child"] not in {process.pid for process in processes()})


def test_manager_that_is_killed_again_and_again_fails_the_task_that_it_runs(bench: Bench):
    task = processors.Wait("gate").delay()
    for round_ in range(1, 4):
        manager = bench.start(WORKERS_COUNT=1, MAX_CRASHES=2)
        bench.wait_for("begun", round_)
        manager.send_to_group(signal.SIGKILL)
        wait_until(manager.is_gone)

    bench.start("--once", MAX_CRASHES=2).ended()
    task.refresh_from_db()
    assert (task.status, task.error_reason, task.crashes) == ("error", "worker_lost", 3)


def test_workers_of_a_killed_manager_finish_and_settle_what_they_run_and_give_back_the_rest(bench: Bench):
    manager = bench.ready()
    bulk_delay(processors.Pass(index) for index in range(200))
    wait_until(lambda: number_of("finished") == 200)
    Task.objects.all().delete()
    ids = bulk_delay([processors.Wait("gate", 1), processors.Wait("gate", 2), processors.Pass(1)])
    begun = {line["id"] for line in bench.wait_for("begun", 202)[200:]}
    workers = manager.workers()

    manager.send(signal.SIGKILL)
    manager.ended()
    bench.open("gate")
    wait_until(manager.is_gone, 10, "the workers, the fork server and the resource tracker ended")

    assert len(workers) == len(begun) == 2
    assert set(Task.objects.filter(status="finished").values_list("pk", flat=True)) == begun
    assert Task.objects.exclude(status="finished").get().pk in set(ids) - begun
    assert bench.start("--once").ended() == 0
    assert set(Task.objects.values_list("status", "attempts", "crashes")) == {("finished", 1, 0)}


def test_idle_workers_of_a_killed_manager_end(bench: Bench):
    manager = bench.ready()

    manager.send(signal.SIGKILL)
    manager.ended()

    wait_until(manager.is_gone, 5)


def test_atomic_task_killed_with_its_manager_leaves_nothing_and_runs_again(bench: Bench):
    first = bench.start(WORKERS_COUNT=1)
    task = processors.Atomic("gate").delay()
    bench.wait_for("begun")
    first.send_to_group(signal.SIGKILL)
    wait_until(first.is_gone)

    assert bench.start("--once").ended() == 0
    task.refresh_from_db()
    assert (task.status, task.attempts) == ("finished", 2)
    assert list(Note.objects.values_list("text", flat=True)) == ["gate in attempt 2"]


def test_worker_that_cannot_start_is_tried_again_at_growing_intervals(bench: Bench):
    manager = bench.start(WORKERS_COUNT=1, PRELOAD=False, variables={"BREAK_WORKERS": "1"})

    manager.wait_for("worker.exited", 3)
    exits = manager.logged("worker.exited")
    assert {event["event.reason"] for event in exits} == {"error"}
    assert "not in a worker" in manager.err()
    assert manager.stop() == 0


def test_a_task_that_takes_down_its_container_fails_and_the_others_run(bench: Bench):
    """Containers leave nothing to their successors: each has its own host name and temporary folder."""
    deadly = processors.TakeDown().delay(priority=0)
    others = bulk_delay(processors.Pass(index) for index in range(5))
    sizes: dict[str, Any] = {
        "WORKERS_COUNT": 1,
        "LEASE_SECONDS": 3,
        "MAX_CRASHES": 1,
        "SLEEP_DELAY_SECONDS": 0.5,
    }
    starts = 0

    while not Task.objects.filter(pk=deadly.pk, status="error"):
        folder = bench.temporary / str(starts)
        folder.mkdir()
        container = bench.start(**sizes, variables={"TMPDIR": str(folder)})
        starts += 1
        wait_until(lambda: container.is_gone() or number_of("error"))  # noqa: B023

    wait_until(lambda: number_of("finished", pk__in=others) == len(others))
    deadly.refresh_from_db()
    assert (deadly.error_reason, deadly.attempts, deadly.crashes) == ("worker_lost", 2, 2)
    assert len(bench.journal("begun", id=deadly.pk)) == 3, "the first takeover cannot know that it had begun"
    assert set(Task.objects.filter(pk__in=others).values_list("attempts", "crashes")) == {(1, 0)}
    assert starts == 4
