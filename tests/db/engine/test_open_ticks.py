"""About once a minute, one manager looks up which tasks of ticks have ended."""

import time
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from django_partisan import registry, scheduling
from django_partisan.engine.manager.open_ticks import LOOK_UP_SECONDS
from django_partisan.models import Chore, Schedule, Task
from django_partisan.processor import BaseTaskProcessor
from django_partisan.sql import open_ticks
from django_partisan.sql.connection import execute, open_connection
from django_partisan.telemetry.events.schedules import ScheduleOperationFailed
from tests.support.events import RecordedEvents
from tests.support.schedules import UNREADABLE, add_schedule, server_now

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_subscribers")]


@pytest.fixture(autouse=True)
def letter(registry_as_it_was: None) -> None:
    registry.register(type("Letter", (BaseTaskProcessor,), {"run": lambda self: None}))


def look_up(interval: float = 0.0, page_rows: int = 200) -> bool:
    with closing(open_connection("test")) as own:
        return open_ticks.look_up(own, interval, page_rows)


def run(number: int) -> list[str]:
    """Add and run ``number`` schedules; return their names."""
    names = [f"s{place:03}" for place in range(number)]
    for place, name in enumerate(names):
        add_schedule(name, args=[place], next_at=server_now() + timedelta(days=1))
        scheduling.run_now(name)
    return names


def test_the_ends_of_tasks_are_noted():
    gone, failed, waiting = run(3)
    before = server_now()
    task_of = dict(Schedule.objects.values_list("name", "last_task_id"))
    Task.objects.filter(pk=task_of[gone] or 0).delete()
    of_failed = Task.objects.filter(pk=task_of[failed] or 0)
    of_failed.update(status="error", error_reason="timeout", finished_at=before)

    assert look_up()

    rows = {row.name: row for row in Schedule.objects.all()}
    assert rows[gone].open_tick is None
    completed_at = rows[gone].last_completed_at
    assert completed_at is not None
    assert before <= completed_at <= server_now()
    assert (rows[failed].last_failed, rows[failed].last_completed_at) == (True, None)
    assert rows[waiting].open_tick is not None
    assert [one.recent_ticks[0].get("ended") for one in (rows[gone], rows[failed], rows[waiting])] == [
        "completed",
        "failed",
        None,
    ]


def test_a_later_success_ends_a_failure():
    [name] = run(1)
    Task.objects.update(status="error", error_reason="error")
    look_up()
    scheduling.run_now(name)
    Task.objects.update(status="finished", finished_at=server_now())

    look_up()

    row = Schedule.objects.get()
    assert (row.last_failed, row.open_tick) == (False, None)
    assert row.last_completed_at is not None


def test_all_schedules_are_looked_up_page_by_page():
    run(5)
    Task.objects.all().delete()

    look_up(page_rows=2)

    assert not Schedule.objects.filter(open_tick__isnull=False)


def test_only_one_manager_looks_within_the_interval():
    run(1)

    assert look_up(55)
    assert not look_up(55)
    Chore.objects.update(last_at=timezone.now() - timedelta(seconds=56))
    assert look_up(55)
    Chore.objects.update(last_at=timezone.now() + timedelta(hours=1))  # as if the clock was set back later
    assert look_up(55)


def test_a_schedule_that_others_lock_is_left_for_the_next_look():
    run(1)
    Task.objects.all().delete()
    with closing(open_connection("another")) as another:
        execute(another, "BEGIN")
        execute(another, "SELECT FROM django_partisan_schedule FOR UPDATE")
        look_up()
        execute(another, "ROLLBACK")
    before = Schedule.objects.get().open_tick

    look_up()

    assert (before is None, Schedule.objects.get().open_tick) == (False, None)


def test_a_look_locks_no_row_while_it_reads_and_leaves_one_that_ticked_meanwhile():
    first, second = run(2)
    Task.objects.all().delete()

    def interrupt(run_it: Any, text: str, *args: Any) -> Any:
        if "finished_at" in text and "ANY" in text:
            execute(connection, "SELECT FROM django_partisan_schedule FOR UPDATE NOWAIT")
            Schedule.objects.filter(pk=first).update(recent_ticks=[], totals={"enqueued": 7})
        return run_it(text, *args)

    with closing(open_connection("test")) as own, own.execute_wrapper(interrupt):
        open_ticks.look_up(own, 0.0)

    rows = {row.name: row for row in Schedule.objects.all()}
    assert rows[first].open_tick is not None
    assert rows[second].open_tick is None


@pytest.mark.parametrize(
    "change",
    [
        *(
            f"recent_ticks = '{value}'"
            for value in ('{"odd": 1}', "7", "[7]", '[{"at": "now", "task": "x"}]')
        ),
        *(f"open_tick = '{value}'" for value in ("7", "[]", '{"at": "now", "task": {}}', '{"task": 1}')),
        'open_tick = \'{"at": "now", "task": 1e30}\'',
        "open_tick = 'null'",
        f"recent_ticks = {UNREADABLE}",
    ],
)
def test_a_malformed_row_is_left_out(change: str):
    first, second = run(2)
    execute(connection, f"UPDATE django_partisan_schedule SET {change} WHERE name = %s", (first,))
    Task.objects.all().delete()

    look_up()

    assert Schedule.objects.get(pk=second).open_tick is None


def test_an_end_at_an_infinite_moment_is_one_of_now():
    run(1)
    execute(connection, "UPDATE django_partisan_task SET status = 'finished', finished_at = 'infinity'")
    before = server_now()

    look_up()

    completed_at = Schedule.objects.get().last_completed_at
    assert completed_at is not None
    assert before <= completed_at <= server_now()


def test_a_manager_looks_when_a_heartbeat_finds_open_ticks(open_harness):
    run(1)
    Task.objects.all().delete()
    harness = open_harness(lease_seconds=3)

    harness.turn_until(lambda: not Schedule.objects.filter(open_tick__isnull=False))


def test_a_look_that_failed_is_reported_and_left_to_the_next_minute(
    open_harness, recorded_events: RecordedEvents
):
    run(1)
    execute(connection, "ALTER TABLE django_partisan_chore RENAME TO hidden")
    try:
        harness = open_harness(lease_seconds=3)
        harness.turn_until(
            lambda: "look_up" in [one.operation for one in recorded_events.of(ScheduleOperationFailed)]
        )
        Task.objects.all().delete()
    finally:
        execute(connection, "ALTER TABLE hidden RENAME TO django_partisan_chore")
    component = harness.manager._parts.schedules._open
    next_at = component._look_up_at
    harness.manager._parts.lease.heartbeat_soon()
    harness.turn_until(lambda: component._has_any and harness.is_quiet)
    assert component.next_at() == next_at
    assert 50 < next_at - time.monotonic() <= LOOK_UP_SECONDS

    component._look_up_at = 0.0  # as if a minute had passed

    harness.turn_until(lambda: not Schedule.objects.filter(open_tick__isnull=False))
    failed = [one for one in recorded_events.of(ScheduleOperationFailed) if one.operation == "look_up"]
    assert [one.schedule for one in failed] == [None]
