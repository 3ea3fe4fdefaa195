"""Schedules of real managers: ticks are neither repeated nor lost when one dies; lines as documented."""

import signal
from collections import Counter
from datetime import timedelta

from django.db.models import Max

from django_partisan.models import ManagerLease, Schedule, Task
from tests.support.rows import number_of
from tests.support.schedules import PERIOD, add_schedule, last_multiple, periods
from tests.support.waiting import wait_until

from .managing import Bench

EACH_SECOND = {"PARTISAN_SCHEDULES": {"each second": {"task": "Pass", "every": 1, "catch_up": "all"}}}
KILLS = 4
LATEST_SECONDS = 20.0
"""Much longer than the fraction of a second that it takes on an idle machine."""


def ticks(name: str = "each second") -> int:
    totals = Schedule.objects.filter(pk=name).values_list("totals", flat=True).first() or {}
    return sum(totals.values())


def test_no_tick_is_enqueued_twice_or_lost_while_managers_die(bench: Bench):
    hosts = [{"TEST_HOST": "first"}, {"TEST_HOST": "second"}]
    managers = [bench.start(variables=host, settings=EACH_SECOND, LEASE_SECONDS=3) for host in hosts]
    wait_until(lambda: ticks() >= 2, progress=lambda: ManagerLease.objects.count())
    first = Schedule.objects.get()

    for number in range(KILLS):
        before = ticks()
        managers[number % 2].send_to_group(signal.SIGKILL)
        managers[number % 2] = bench.start(variables=hosts[number % 2], settings=EACH_SECOND, LEASE_SECONDS=3)
        wait_until(lambda: ticks() >= before + 2, progress=ticks)  # noqa: B023 - it is called here
    for manager in managers:
        manager.send(signal.SIGTERM)
        manager.ended()

    row = Schedule.objects.get()
    moments = Counter(Task.objects.values_list("scheduled_for", flat=True))
    assert row.last_at is not None
    assert first.defined_at is not None
    assert [moment for moment, number in moments.items() if number > 1] == []
    began_at = min(moment for moment in moments if moment is not None)
    assert sum(row.totals.values()) == (row.last_at - began_at).total_seconds() + 1
    assert row.totals["enqueued"] == len(moments)
    assert row.totals["missed"] == 0


def test_many_ticks_of_one_moment_are_soon_enqueued(bench: Bench):
    bench.ready(LEASE_SECONDS=30)
    due_at = last_multiple(20) + timedelta(seconds=40)  # later than the next heartbeat
    Schedule.objects.bulk_create(
        Schedule(name=f"s{number:04}", task="Pass", every=20, args=[number], next_at=due_at)
        for number in range(1000)
    )
    tasks = Task.objects.filter(scheduled_for=due_at)

    wait_until(
        lambda: tasks.count() == 1000,
        what=lambda: f"1000 tasks, not {tasks.count()}\n{bench.managers[0]}",
        progress=tasks.count,
        seconds=60,
    )

    latest = tasks.aggregate(latest=Max("created_at"))["latest"]
    assert latest is not None
    assert (latest - due_at).total_seconds() < LATEST_SECONDS
    assert tasks.values("arguments").distinct().count() == 1000


def test_what_a_manager_logs_of_its_schedules_and_what_runs_say_of_theirs(bench: Bench):
    add_schedule("missed", task="Pass", args=[1], next_at=last_multiple(PERIOD) - periods(2))
    add_schedule("broken", task="Pass", args=[2], recent_ticks=["spoiled"])
    add_schedule("skipped", task="Wait", args=["gate"], overlap=False)
    manager = bench.ready(
        settings={"PARTISAN_SCHEDULES": {"added": {"task": "Pass", "every": PERIOD}}}, LEASE_SECONDS=3
    )
    bench.wait_for("begun", processor="Wait")
    Schedule.objects.filter(pk="skipped").update(next_at=last_multiple(PERIOD))

    [skipped] = manager.wait_for("schedule.skipped")
    bench.open("gate")
    wait_until(lambda: number_of("finished") == 2)
    manager.stop()

    [missed], [failed] = manager.logged("schedule.missed"), manager.logged("schedule.failed")
    ticked = {line["partisan.schedule.name"]: line for line in manager.logged("schedule.ticked")}
    [changed] = manager.logged("schedule.changed")
    assert missed["message"].startswith("Schedule missed missed 2 ticks up to ")
    assert (failed["partisan.schedule.name"], failed["log.level"]) == ("broken", "error")
    assert skipped["partisan.task.id"] == ticked["skipped"]["partisan.task.id"]
    assert ticked.keys() == {"missed", "skipped"}
    assert (changed["partisan.schedule.name"], changed["partisan.schedule.change"]) == ("added", "added")
    completed = {line["partisan.task.id"]: line for line in manager.logged("task.completed")}
    labels = {name: completed[line["partisan.task.id"]]["labels.schedule"] for name, line in ticked.items()}
    assert labels == {"missed": "missed", "skipped": "skipped"}
