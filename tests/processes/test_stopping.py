"""Stopping: running tasks finish, the others are released, and nothing is left behind."""

import os
import signal
import time

import pytest

from django_partisan.models import ManagerLease, Task
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.processes.observability.lines import checked
from tests.support.database import sessions
from tests.support.rows import count_by_status
from tests.support.waiting import let_pass, wait_until

from .managing import Bench, ManagerProcess

STOPPING = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


def said(manager: ManagerProcess) -> list[str]:
    """Return the lines on standard error after the one that says what is served."""
    first, *more = manager.err().splitlines()
    assert first.startswith("Serving queue")
    return more


@pytest.mark.parametrize("number", STOPPING)
def test_signal_to_the_whole_group_lets_running_tasks_finish_and_releases_the_rest(
    bench: Bench, number: signal.Signals
):
    manager = bench.ready(WORKERS_COUNT=4)
    bulk_delay(processors.Wait("gate", index) for index in range(10))
    bench.wait_for("begun", 4)
    wait_until(lambda: count_by_status() == {"in_process": 10})

    manager.send_to_group(number)
    wait_until(lambda: count_by_status() == {"in_process": 4, "new": 6})
    late = processors.Wait("gate").delay()
    bench.open("gate")
    assert manager.ended() == 0

    assert count_by_status() == {"finished": 4, "new": 7}
    assert Task.objects.get(pk=late.pk).attempts == 0
    assert set(Task.objects.filter(status="new").values_list("attempts", "crashes", "claimed_by")) == {
        (0, 0, None)
    }
    assert said(manager) == []
    assert {event["event.reason"] for event in manager.logged("worker.exited")} == {"stopped"}
    assert len(manager.logged("worker.exited")) == 4
    [draining], [stopped] = manager.logged("manager.draining"), manager.logged("manager.stopped")
    assert number.name in draining["message"]
    assert stopped["message"].endswith("6 tasks released")


def test_released_task_that_meets_a_duplicate_loses_its_unique_key(bench: Bench):
    manager = bench.ready(WORKERS_COUNT=1, MIN_QUEUE_SIZE=1, MAX_QUEUE_SIZE=2)
    processors.Wait("gate").delay()
    bench.wait_for("begun")
    claimed = processors.OneArgument(1).delay()
    wait_until(lambda: count_by_status() == {"in_process": 2})
    twin = processors.OneArgument(1).delay(priority=99)
    assert twin.pk != claimed.pk
    wait_until(lambda: count_by_status() == {"in_process": 3})
    third = processors.OneArgument(1).delay()

    manager.send(signal.SIGTERM)
    wait_until(lambda: count_by_status() == {"in_process": 1, "new": 3})
    bench.open("gate")
    assert manager.ended() == 0

    keyed = Task.objects.filter(status="new", unique_key__isnull=False)
    assert [task.pk for task in keyed] == [third.pk]
    assert bench.start("--once").ended() == 0
    assert len(bench.journal("made")) == 3


def test_worker_that_dies_while_its_manager_stops_is_not_replaced_and_its_task_goes_back(bench: Bench):
    manager = bench.ready()
    task = processors.Wait("never").delay()
    [victim] = [line["pid"] for line in bench.wait_for("begun")]

    manager.send(signal.SIGTERM)
    manager.wait_for("manager.draining")
    os.kill(victim, signal.SIGKILL)
    assert manager.ended(5) == 0

    task.refresh_from_db()
    assert (task.status, task.attempts, task.crashes, task.claimed_by) == ("new", 1, 1, None)
    assert len(manager.logged("worker.started")) == 2


def test_worker_whose_exit_code_is_not_known_yet_does_not_hinder_a_stop(bench: Bench):
    """A stopped fork server reports no exit codes, so the dead worker is still listed."""
    manager = bench.ready()
    fork_server, victim = manager.fork_server(), manager.workers()[0]
    os.kill(fork_server, signal.SIGSTOP)
    os.kill(victim, signal.SIGKILL)

    manager.send(signal.SIGTERM)
    manager.wait_for("manager.stopped", seconds=8)

    os.kill(fork_server, signal.SIGCONT)
    assert manager.ended(5) == 0
    assert said(manager) == []


@pytest.mark.parametrize("number", STOPPING)
def test_signal_to_the_group_while_starting_leaves_no_fault(bench: Bench, number: signal.Signals):
    """The fork server and the workers get the signal before they have started to ignore it."""
    managers = [bench.start(WORKERS_COUNT=1) for _ in range(2)]
    for manager, pause in zip(managers, (0.0, 0.15), strict=True):
        wait_until(lambda: any("forkserver" in process.command for process in manager.process_tree()))  # noqa: B023
        let_pass(pause)
        manager.send_to_group(number)

    for manager in managers:
        assert manager.ended() == 0, manager.err()
        assert said(manager) == []
        assert {event["event.reason"] for event in manager.logged("worker.exited")} <= {"stopped"}


def test_second_signal_ends_running_tasks_which_go_back_and_lose_no_attempt(bench: Bench):
    manager = bench.ready()
    ids = bulk_delay(processors.Wait("never", index) for index in range(5))
    bench.wait_for("begun", 2)

    manager.send_to_group(signal.SIGINT)
    manager.wait_for("manager.draining")
    manager.send_to_group(signal.SIGINT)
    assert manager.ended(5) == 1

    assert count_by_status() == {"new": 5}
    assert set(Task.objects.values_list("attempts", "crashes", "postpones", "retries")) == {(0, 0, 0, 0)}
    rescued = [line for line in checked(manager.out()) if line["event.action"] == "task.rescued"]
    assert {event["event.reason"] for event in rescued} == {"stopped"}
    running = {line["id"] for line in bench.journal("begun")}
    assert {int(event["partisan.task.id"]) for event in rescued} == running <= set(ids)
    assert said(manager) == []


def test_stop_timeout_that_is_not_needed_changes_nothing(bench: Bench):
    manager = bench.ready("--stop-timeout", "20")
    processors.Pass(seconds=0.3).delay()
    bench.wait_for("begun")

    assert manager.stop() == 0
    assert count_by_status() == {"finished": 1}


@pytest.mark.parametrize("how", ["option", "setting"])
def test_end_of_the_stop_timeout_ends_running_tasks_which_run_in_the_next_manager(bench: Bench, how: str):
    options, settings = (
        ([], {"STOP_TIMEOUT_SECONDS": 0.5}) if how == "setting" else (["--stop-timeout", "0.5"], {})
    )
    manager = bench.ready(*options, **settings)
    processors.Wait("never").delay()
    bench.wait_for("begun")

    began = time.monotonic()
    manager.send(signal.SIGTERM)
    assert manager.ended(5) == 1

    assert time.monotonic() - began >= 0.5
    assert list(Task.objects.values_list("status", "attempts", "crashes")) == [("new", 0, 0)]
    assert [event["event.reason"] for event in manager.logged("task.rescued")] == ["stopped"]

    bench.open("never")
    assert bench.start("--once").ended() == 0
    assert list(Task.objects.values_list("status", "attempts", "crashes")) == [("finished", 1, 0)]


def test_program_that_a_task_starts_gets_signals_as_usual(bench: Bench):
    """The program ignores none of them, although its worker leaves them to the manager."""
    bench.ready()
    processors.TellSignals().delay()

    [line] = bench.wait_for("signals")
    assert line["ignored_or_blocked"] == []


def test_idle_manager_stops_at_once_and_leaves_nothing(bench: Bench):
    manager = bench.ready(TASKS_PER_WORKER_INSTANCE=2, SLEEP_DELAY_SECONDS=30)
    bulk_delay(processors.WriteNote(str(index)) for index in range(12))
    wait_until(lambda: count_by_status() == {"finished": 12})
    manager.send(signal.SIGTERM)
    assert manager.ended(3) == 0

    wait_until(manager.is_gone, 5, "the fork server and the resource tracker are gone")
    assert list(bench.presence().iterdir()) == []
    assert list(bench.temporary.iterdir()) == [bench.presence()]
    assert not ManagerLease.objects.exists()
    wait_until(lambda: sessions() == 0, 5)


def test_descriptors_and_threads_stay_the_same_while_workers_come_and_go(bench: Bench):
    manager = bench.ready(TASKS_PER_WORKER_INSTANCE=1)
    before = after_recycling(bench, manager, 6)
    after = after_recycling(bench, manager, 20)

    assert after == before


def after_recycling(bench: Bench, manager: ManagerProcess, count: int) -> tuple[int, int]:
    """Recycle ``count`` workers; return the manager's number of descriptors and of threads afterwards."""
    exits = len(manager.logged("worker.exited")) + count
    bulk_delay(processors.Pass(index) for index in range(count))
    manager.wait_for("worker.exited", exits)
    manager.wait_for("worker.ready", exits + 2)
    seen = [resources(manager.pid)]

    def is_steady() -> bool:
        seen.append(resources(manager.pid))
        return seen[-5:].count(seen[-1]) == 5

    wait_until(is_steady)
    return seen[-1]


def resources(pid: int) -> tuple[int, int]:
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))
