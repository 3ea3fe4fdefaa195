"""Real managers start no task of a paused queue: under load, after restarts and kills, or unnotified."""

import signal
import time
from datetime import timedelta
from itertools import count

import pytest
from django.utils import timezone

from django_partisan.models import ManagerLease, Pause, Task
from django_partisan.pausing import pause, resume
from django_partisan.processor import bulk_delay
from tests.app import partisan_tasks as processors
from tests.support.database import is_asleep
from tests.support.rows import number_of
from tests.support.waiting import let_pass, wait_until

from .managing import Bench, ManagerProcess

LATEST_SECONDS = 10.0
"""Much shorter than the 40 seconds between heartbeats here, and enough for a very busy machine."""
STILL_SECONDS = 1.5
"""How long a test checks that nothing starts."""


def begun_after(bench: Bench, moment: float) -> list[float]:
    """Return the start times of runs that began after a moment, in seconds since then."""
    return [line["at"] - moment for line in bench.journal("begun") if line["at"] > moment]


def enqueue(number: int, seconds: float = 0.005) -> None:
    bulk_delay(processors.Pass(place, seconds=seconds) for place in range(number))


def stands_still(bench: Bench) -> int:
    """Wait until no task is in process; return how many runs had begun by then."""
    wait_until(lambda: number_of("in_process") == 0, progress=lambda: len(bench.journal()))
    return len(bench.journal("begun"))


def goes_on(bench: Bench) -> None:
    wait_until(lambda: number_of("new") == 0, progress=lambda: len(bench.journal()))
    wait_until(lambda: number_of("in_process") == 0, progress=lambda: len(bench.journal()))
    runs = [line["id"] for line in bench.journal("begun")]
    assert len(runs) == len(set(runs)) == number_of("finished")


def all_paused(managers: list[ManagerProcess], times: int = 1) -> None:
    for manager in managers:
        manager.wait_for("queue.paused", times)


def test_two_hosts_under_load_soon_start_nothing_more_and_soon_go_on(bench: Bench):
    hosts = [{"TEST_HOST": "first"}, {"TEST_HOST": "second"}]
    managers = [bench.start(variables=host, LEASE_SECONDS=120, SLEEP_DELAY_SECONDS=30) for host in hosts]
    for manager in managers:
        manager.wait_for("worker.ready", 2)
    enqueue(2000)
    bench.wait_for("begun", 100)
    assert {lease.host for lease in ManagerLease.objects.all()} == {"first", "second"}

    paused_at = time.monotonic()
    pause("default", comment="maintenance")
    all_paused(managers)
    begun = stands_still(bench)
    late = [seconds for seconds in begun_after(bench, paused_at) if seconds > LATEST_SECONDS]
    let_pass(STILL_SECONDS)
    assert late == []
    assert begun == len(bench.journal("begun")) < 2000
    assert number_of("new", attempts=0, crashes=0) == 2000 - begun

    resumed_at = time.monotonic()
    resume("default")
    bench.wait_for("begun", begun + 1)
    assert min(begun_after(bench, resumed_at)) < LATEST_SECONDS
    goes_on(bench)
    for manager in managers:
        assert manager.logged("queue.paused")[0]["partisan.pause.comment"] == "maintenance"
        assert len(manager.logged("queue.resumed")) == 1
        assert {line["event.reason"] for line in manager.logged("task.released")} <= {"paused", "shared"}


def test_what_runs_finishes_and_what_waits_behind_it_in_a_worker_is_released(bench: Bench):
    manager = bench.ready(WORKERS_COUNT=1, LEASE_SECONDS=120)
    bench.open("open")
    enqueue(300, seconds=0)
    wait_until(lambda: number_of("finished") == 300, progress=lambda: number_of("finished"))
    bulk_delay([processors.WaitBriefly("gate"), *(processors.Pass(n) for n in range(200))])
    bench.wait_for("begun", args=["gate"])

    pause("default")
    wait_until(lambda: number_of("in_process") == 1)
    let_pass(STILL_SECONDS)
    begun = len(bench.journal("begun"))
    bench.open("gate")
    bench.wait_for("ended", processor="WaitBriefly")
    assert stands_still(bench) == begun
    assert manager.workers() == [event["partisan.worker.pid"] for event in manager.logged("worker.started")]
    resume("default")

    goes_on(bench)


def test_a_pause_holds_over_restarts_and_a_manager_that_starts_claims_nothing(bench: Bench):
    first = bench.ready(LEASE_SECONDS=120)
    pause("default")
    all_paused([first])
    enqueue(20)
    assert first.stop() == 0

    second = bench.ready(LEASE_SECONDS=120, SLEEP_DELAY_SECONDS=0.1)
    all_paused([second])
    let_pass(STILL_SECONDS)
    assert (number_of("new"), second.logged("task.claimed"), bench.journal()) == (20, [], [])
    resume("default")

    goes_on(bench)


def test_without_notifications_a_pause_and_its_end_are_found_by_heartbeats(bench: Bench):
    manager = bench.ready(LISTEN=False, LEASE_SECONDS=3, SLEEP_DELAY_SECONDS=0.1)
    enqueue(2000)
    bench.wait_for("begun", 20)

    paused_at = time.monotonic()
    pause("default")
    all_paused([manager])
    begun = stands_still(bench)
    assert max(begun_after(bench, paused_at), default=0.0) < LATEST_SECONDS
    let_pass(STILL_SECONDS)
    assert len(bench.journal("begun")) == begun < 2000
    resume("default")

    goes_on(bench)


def test_a_pause_with_an_end_ends_by_itself_without_a_heartbeat(bench: Bench):
    manager = bench.ready(LEASE_SECONDS=120, SLEEP_DELAY_SECONDS=60)
    paused_at = time.monotonic()
    pause("default", until=timedelta(seconds=3))
    all_paused([manager])
    enqueue(10)

    bench.wait_for("ended", 10)
    [first, *_] = sorted(begun_after(bench, paused_at))

    assert 2.9 < first < 3.0 + LATEST_SECONDS
    assert len(manager.logged("queue.resumed")) == 1


def test_an_insert_into_a_paused_queue_wakes_nobody_and_the_first_after_it_does(bench: Bench):
    manager = bench.ready(LEASE_SECONDS=120, SLEEP_DELAY_SECONDS=60)
    wait_until(is_asleep)
    pause("default")
    all_paused([manager])
    wait_until(lambda: not is_asleep())

    enqueue(5)
    let_pass(STILL_SECONDS)
    assert not is_asleep()
    resume("default")
    goes_on(bench)
    wait_until(is_asleep)
    enqueue(1)

    bench.wait_for("ended", 6)


def test_tasks_of_a_dead_manager_are_rescued_while_the_queue_is_paused_but_do_not_start(bench: Bench):
    dead = bench.ready(WORKERS_COUNT=1)
    bulk_delay([processors.Wait("gate", place) for place in range(5)])
    bench.wait_for("begun")
    rescuer = bench.ready(WORKERS_COUNT=1)
    pause("default")
    all_paused([dead, rescuer])
    wait_until(lambda: number_of("in_process") == 1)

    dead.send_to_group(signal.SIGKILL)
    rescuer.wait_for("task.rescued")
    wait_until(lambda: number_of("new") == 5)
    let_pass(STILL_SECONDS)
    assert len(bench.journal("begun")) == 1
    bench.open("gate")
    resume("default")

    wait_until(lambda: number_of("finished") == 5)
    assert Task.objects.filter(crashes=1, attempts=2).count() == 1


@pytest.mark.parametrize("option", ["--once", "--until-empty"])
def test_a_manager_that_ends_by_itself_ends_while_its_queue_is_paused(bench: Bench, option: str):
    enqueue(3)
    processors.Pass("later").delay(execute_after=timezone.now() + timedelta(hours=1))
    pause("default")

    manager = bench.start(option)

    assert manager.ended() == 0
    assert (number_of("new"), bench.journal()) == (4, [])
    assert Pause.objects.exists()


def test_pauses_and_ends_in_quick_succession_lose_nothing_and_repeat_nothing(bench: Bench):
    managers = [bench.ready(LEASE_SECONDS=120) for _ in range(2)]
    enqueue(1500, seconds=0.002)
    for number in count():
        pause("default")
        let_pass(0.02 * (number % 4))
        resume("default")
        let_pass(0.05)
        if number >= 20:
            break

    goes_on(bench)
    assert set(Task.objects.values_list("attempts", "crashes", "takeovers")) == {(1, 0, 0)}
    assert [manager.stop() for manager in managers] == [0, 0]
