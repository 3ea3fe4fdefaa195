"""The rows of schedules follow the settings of the live manager that lists them and started last."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models import F
from django.test import override_settings
from django.utils import timezone

from django_partisan import registry, scheduling
from django_partisan.models import Chore, ManagerLease, Schedule
from django_partisan.processor import BaseTaskProcessor
from django_partisan.telemetry.events import ScheduleChanged
from tests.db.engine.office import Office
from tests.support.events import RecordedEvents
from tests.support.schedules import DAY, add_schedule, last_multiple, server_now
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_subscribers")]

HOURLY = {"task": "Letter", "every": 3600}
DAILY = {"task": "Letter", "every": DAY}

Deploy = Callable[..., Office]


@pytest.fixture
def deploy(open_office: Callable[..., Office]) -> Deploy:
    """Return a function that makes a manager whose settings have some schedules."""
    registry.register(type("Letter", (BaseTaskProcessor,), {"run": lambda self: None}))

    def make(schedules: dict[str, Any], **settings: Any) -> Office:
        with override_settings(PARTISAN_SCHEDULES=schedules):
            return open_office(**{"lease_seconds": 3, **settings})

    return make


def turn(until: Callable[[], Any], *offices: Office) -> None:
    """Turn several managers until a condition is met."""

    def turned() -> Any:
        for office in offices:
            office.manager.turn(0.01)
        return until()

    wait_until(turned)


def stop(office: Office) -> None:
    office.manager.stop()
    office.turn_until(lambda: office.manager.is_stopped)


def every(name: str = "nightly") -> int | None:
    return Schedule.objects.filter(pk=name, stopped_at=None).values_list("every", flat=True).first()


def changes(events: RecordedEvents) -> list[tuple[str, str]]:
    return [(one.schedule, one.change) for one in events.of(ScheduleChanged)]


def test_a_manager_writes_the_schedules_of_its_settings(deploy: Deploy, recorded_events: RecordedEvents):
    office = deploy({"nightly": {**DAILY, "args": [1], "queue_name": "mail"}, "hourly": HOURLY})
    before = server_now()

    office.turn_until(lambda: Schedule.objects.count() == 2)

    row = Schedule.objects.get(pk="nightly")
    assert (row.task, row.every, row.args, row.queue_name, row.origin) == (
        "Letter",
        DAY,
        [1],
        "mail",
        "settings",
    )
    assert row.next_at == last_multiple(DAY) + timedelta(days=1)
    assert row.defined_at >= before
    lease = ManagerLease.objects.get()
    assert lease.schedules.keys() == {"nightly", "hourly"}
    assert lease.schedules["nightly"] == row.fingerprint
    office.turn_until(lambda: len(recorded_events.of(ScheduleChanged)) == 2)
    assert changes(recorded_events) == [("hourly", "added"), ("nightly", "added")]


def test_the_manager_that_started_last_decides_and_then_the_other_one(deploy: Deploy):
    old = deploy({"nightly": HOURLY})
    old.turn_until(lambda: every() == 3600)
    new = deploy({"nightly": DAILY})
    turn(lambda: every() == DAY, new, old)
    again = deploy({"nightly": HOURLY})  # the old code, restarted last
    turn(lambda: every() == 3600, again, new, old)

    stop(again)
    turn(lambda: every() == DAY, new, old)
    stop(new)
    turn(lambda: every() == 3600, old)


def test_a_manager_that_died_decides_until_its_lease_expires(deploy: Deploy):
    old = deploy({"nightly": HOURLY})
    new = deploy({"nightly": DAILY})
    turn(lambda: every() == DAY, new, old)

    ManagerLease.objects.filter(pk=new.manager._parts.lease.id).update(
        heartbeat_at=F("heartbeat_at") - timedelta(minutes=1)
    )

    turn(lambda: every() == 3600, old)


def test_a_new_identity_keeps_the_start_of_the_process_and_the_list(deploy: Deploy):
    office = deploy({"nightly": DAILY})
    office.turn_until(lambda: every() == DAY)
    first = ManagerLease.objects.get()

    ManagerLease.objects.all().delete()
    office.turn_until(lambda: ManagerLease.objects.exists())

    second = ManagerLease.objects.get()
    assert second.pk != first.pk
    assert (second.process_started_at, second.schedules) == (first.process_started_at, first.schedules)
    assert second.process_started_at <= first.started_at < second.started_at


def test_what_nobody_lists_stops_and_goes_on_when_it_is_back(deploy: Deploy, recorded_events: RecordedEvents):
    other = deploy({"hourly": HOURLY})
    office = deploy({"nightly": DAILY})
    turn(lambda: every("hourly") and every(), other, office)
    missed = last_multiple(DAY) - timedelta(days=1)
    stop(office)
    turn(lambda: Schedule.objects.filter(pk="nightly").exclude(stopped_at=None), other)
    Schedule.objects.filter(pk="nightly").update(
        next_at=missed, stopped_at=timezone.now() - timedelta(minutes=59)
    )

    back = deploy({"nightly": DAILY})
    turn(lambda: Schedule.objects.get(pk="nightly").recent_ticks, back, other)

    ticks = Schedule.objects.get(pk="nightly").recent_ticks
    assert [tick["outcome"] for tick in ticks] == ["missed", "enqueued"]
    assert [change for change in changes(recorded_events) if change[0] == "nightly"] == [
        ("nightly", "added"),
        ("nightly", "stopped"),
        ("nightly", "restarted"),
    ]


def test_what_is_back_after_more_than_an_hour_starts_anew(deploy: Deploy):
    office = deploy({"nightly": DAILY})
    office.turn_until(every)
    stop(office)
    gone = timezone.now() - timedelta(minutes=61)
    Schedule.objects.update(next_at=last_multiple(DAY) - timedelta(days=1), stopped_at=gone, error="locked")

    back = deploy({"nightly": DAILY})
    back.turn_until(every)

    row = Schedule.objects.get()
    assert (row.next_at, row.recent_ticks, row.error) == (last_multiple(DAY) + timedelta(days=1), [], "")


def test_after_a_full_stop_it_goes_on_with_what_it_missed(deploy: Deploy):
    office = deploy({"nightly": DAILY})
    office.turn_until(every)
    stop(office)
    Schedule.objects.update(next_at=last_multiple(DAY))

    back = deploy({"nightly": DAILY})
    back.turn_until(lambda: Schedule.objects.get().recent_ticks)

    assert [tick["outcome"] for tick in Schedule.objects.get().recent_ticks] == ["enqueued"]


@pytest.mark.parametrize(
    ("definition", "is_new"),
    [({**DAILY, "args": [7]}, False), (HOURLY, True), ({"task": "Letter", "cron": "0 3 * * *"}, True)],
)
def test_only_a_change_of_its_times_moves_the_next_tick(deploy: Deploy, definition, is_new):
    office = deploy({"nightly": DAILY})
    office.turn_until(every)
    stop(office)
    before = Schedule.objects.get()
    late = last_multiple(DAY) + timedelta(days=3)
    Schedule.objects.update(next_at=late, error="locked", failures=2)

    changed = deploy({"nightly": definition})
    changed.turn_until(lambda: Schedule.objects.get().fingerprint != before.fingerprint)

    row = Schedule.objects.get()
    assert (row.next_at == late) == (not is_new)
    assert (row.defined_at == before.defined_at) == (not is_new)
    assert row.next_at > server_now()
    assert (row.error, row.failures) == ("", 0)


def test_a_row_that_was_stopped_30_days_ago_is_removed(deploy: Deploy, recorded_events: RecordedEvents):
    for name, days in (("old", 31), ("older", 29)):
        stopped_at = timezone.now() - timedelta(days=days)
        add_schedule(name, origin="settings", stopped_at=stopped_at)
    office = deploy({})

    office.turn_until(lambda: Schedule.objects.count() == 1)

    assert Schedule.objects.get().name == "older"
    office.turn_until(lambda: recorded_events.of(ScheduleChanged))
    assert changes(recorded_events) == [("old", "removed")]


def test_a_row_made_by_hand_holds_against_the_settings(deploy: Deploy):
    next_at = last_multiple(DAY) + timedelta(days=1)
    add_schedule("nightly", every=7, next_at=next_at)
    office = deploy({"nightly": DAILY, "hourly": HOURLY})

    office.turn_until(lambda: every("hourly"))

    row = Schedule.objects.get(pk="nightly")
    assert (row.every, row.origin, row.stopped_at) == (7, "database", None)


def test_a_row_that_somebody_has_deleted_is_back_when_managers_are_notified(deploy: Deploy):
    office = deploy({"nightly": DAILY}, lease_seconds=3000)
    office.turn_until(every)

    Schedule.objects.all().delete()
    scheduling.notify_managers(connection)

    office.turn_until(every)


def test_without_schedules_a_manager_compares_nothing(deploy: Deploy):
    office = deploy({})

    office.turn_until(lambda: office.is_quiet)
    office.manager._parts.lease.heartbeat_soon()
    office.turn_until(lambda: office.is_quiet)

    assert not Chore.objects.filter(name__in=["schedules", "open_ticks"])
    assert ManagerLease.objects.get().schedules is None


def test_a_comparison_that_failed_is_repeated(deploy: Deploy):
    office = deploy({"nightly": DAILY})
    office.cut_off("chores")
    office.turn_until(lambda: office.manager._parts.schedules._listed._compare_at > 0)

    office.reconnect("chores")

    office.turn_until(every)
