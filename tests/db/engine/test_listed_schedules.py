"""Rows of schedules follow the settings of the live manager that lists them and started last."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import Error, connection
from django.db.models import F
from django.test import override_settings
from django.utils import timezone

from django_partisan import registry, scheduling
from django_partisan.engine.manager.listing_comparison import Change, compare
from django_partisan.models import Chore, ManagerLease, Schedule
from django_partisan.processor import BaseTaskProcessor
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.sql import leasing, schedule_listing
from django_partisan.sql.connection import execute, open_connection
from django_partisan.sql.leasing import ProcessStart
from django_partisan.telemetry.events.schedules import ScheduleChanged, ScheduleOperationFailed
from tests.db.engine.manager_harness import ManagerHarness
from tests.support.events import RecordedEvents
from tests.support.schedules import PERIOD, add_schedule, last_multiple, periods, server_now
from tests.support.triggers import SCHEDULES, refusing

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("no_subscribers")]

HOURLY = {"task": "Letter", "every": 3600}
DAILY = {"task": "Letter", "every": PERIOD}


@pytest.fixture(autouse=True)
def letter(registry_as_it_was: None) -> None:
    registry.register(type("Letter", (BaseTaskProcessor,), {"run": lambda self: None}))


class Manager:
    """The row of a manager whose process started ``seconds`` seconds ago."""

    def __init__(self, schedules: dict[str, Any], seconds: float = 0.0, lease_seconds: float = 30) -> None:
        self.id: UUID = uuid4()
        self.definitions = {name: ScheduleDefinition.of(name, one) for name, one in schedules.items()}
        listed = {name: one.fingerprint for name, one in self.definitions.items()}
        leasing.register(
            connection,
            self.id,
            "default",
            "host",
            17,
            uuid4(),
            lease_seconds,
            started=ProcessStart(None, seconds),
            schedules=json.dumps(listed) if listed else None,
        )

    def compare(self) -> list[Change]:
        with closing(open_connection("test")) as own:
            return compare(own, self.id, self.definitions).changes

    def stop(self) -> None:
        leasing.deregister(connection, self.id)

    def die(self) -> None:
        ManagerLease.objects.filter(pk=self.id).update(heartbeat_at=F("heartbeat_at") - timedelta(minutes=1))


def row(name: str = "nightly") -> Schedule:
    return Schedule.objects.get(pk=name)


def names_of(changes: list[Change]) -> list[tuple[str, str]]:
    return [(one.schedule, one.change) for one in changes]


def test_a_manager_writes_the_schedules_of_its_settings():
    before = server_now()
    manager = Manager({"nightly": {**DAILY, "args": [1], "queue_name": "mail"}, "hourly": HOURLY})

    changes = manager.compare()

    nightly = row()
    assert (nightly.task, nightly.every, nightly.args, nightly.queue_name) == ("Letter", PERIOD, [1], "mail")
    assert (nightly.origin, nightly.fingerprint) == ("settings", manager.definitions["nightly"].fingerprint)
    assert nightly.next_at == last_multiple(PERIOD) + periods(1)
    assert before <= nightly.defined_at <= server_now()
    assert names_of(changes) == [("hourly", "added"), ("nightly", "added")]
    assert manager.compare() == []


def test_the_manager_that_started_last_decides_and_then_the_other_one():
    old, new = Manager({"nightly": HOURLY}, seconds=100), Manager({"nightly": DAILY}, seconds=50)
    assert names_of(new.compare()) == [("nightly", "added")]
    assert old.compare() == []
    again = Manager({"nightly": HOURLY}, seconds=10)  # the old code, restarted last
    assert names_of(again.compare()) == [("nightly", "changed")]
    assert new.compare() == old.compare() == []

    again.stop()
    assert names_of(new.compare()) == [("nightly", "changed")]
    assert row().every == PERIOD
    new.stop()
    old.compare()

    assert row().every == 3600


def test_a_manager_that_died_decides_until_its_lease_expires():
    old, new = Manager({"nightly": HOURLY}, seconds=100), Manager({"nightly": DAILY})
    new.compare()
    assert old.compare() == []

    new.die()
    old.compare()

    assert row().every == 3600


def test_what_nobody_lists_stops_and_goes_on_when_it_is_back():
    other, manager = Manager({"hourly": HOURLY}), Manager({"nightly": DAILY})
    other.compare()
    manager.compare()
    manager.stop()
    assert names_of(other.compare()) == [("nightly", "stopped")]
    late = last_multiple(PERIOD) - periods(1)
    Schedule.objects.filter(pk="nightly").update(
        next_at=late, stopped_at=timezone.now() - timedelta(minutes=59)
    )

    back = Manager({"nightly": DAILY})

    assert back.compare() == [Change("nightly", "Letter", "restarted", late)]
    assert (row().next_at, row().stopped_at) == (late, None)


def test_what_is_back_after_more_than_an_hour_starts_anew():
    manager = Manager({"nightly": DAILY})
    manager.compare()
    long_ago = timezone.now() - timedelta(minutes=61)
    Schedule.objects.update(next_at=last_multiple(PERIOD), stopped_at=long_ago, error="locked", failures=1)

    manager.compare()

    assert (row().next_at, row().stopped_at) == (last_multiple(PERIOD) + periods(1), None)
    assert (row().error, row().failures) == ("", 0)


def test_after_a_full_stop_it_goes_on_with_what_it_missed():
    manager = Manager({"nightly": DAILY})
    manager.compare()
    manager.stop()
    Schedule.objects.update(next_at=last_multiple(PERIOD))

    back = Manager({"nightly": DAILY})

    assert back.compare() == []
    assert row().next_at == last_multiple(PERIOD)


@pytest.mark.parametrize(
    ("definition", "is_new"),
    [
        ({**DAILY, "args": [7]}, False),
        (HOURLY, True),
        ({"task": "Letter", "cron": "0 3 * * *"}, True),
    ],
)
def test_only_a_change_of_its_times_moves_the_next_tick(definition, is_new):
    Manager({"nightly": DAILY}, seconds=10).compare()
    before, late = row(), last_multiple(PERIOD) + periods(3)
    Schedule.objects.update(next_at=late, error="locked", failures=2)

    Manager({"nightly": definition}).compare()

    after = row()
    assert after.fingerprint != before.fingerprint
    assert (after.next_at == late) == (not is_new)
    assert (after.defined_at == before.defined_at) == (not is_new)
    assert (after.error, after.failures) == ("", 0)


@pytest.mark.parametrize("moment", ["-infinity", "4000-01-01 BC"])
def test_a_next_tick_that_no_manager_can_read_is_computed_again_after_a_change(moment: str):
    Manager({"nightly": DAILY}, seconds=10).compare()
    execute(connection, "UPDATE django_partisan_schedule SET next_at = %s", (moment,))

    Manager({"nightly": {**DAILY, "args": [7]}}).compare()

    assert row().next_at == last_multiple(PERIOD) + periods(1)


def test_a_row_that_was_stopped_30_days_ago_is_removed():
    for name, days in (("old", 31), ("younger", 29)):
        add_schedule(name, origin="settings", stopped_at=timezone.now() - timedelta(days=days))

    changes = Manager({}).compare()

    assert names_of(changes) == [("old", "removed")]
    assert row("younger").stopped_at is not None


def test_a_row_made_by_hand_holds_against_the_settings():
    add_schedule("nightly", every=7)
    manager = Manager({"nightly": DAILY, "hourly": HOURLY})

    assert names_of(manager.compare()) == [("hourly", "added")]
    definition = manager.definitions["nightly"]
    columns, moment = definition.as_columns(), server_now()
    is_written = schedule_listing.write_definition(
        connection, "nightly", columns, definition.fingerprint, moment, moment
    )

    assert not is_written
    assert (row().every, row().origin, row().stopped_at) == (7, "database", None)


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM django_partisan_schedule WHERE name <> 'gone' FOR UPDATE",
        "SELECT FROM django_partisan_schedule WHERE name = 'gone' FOR UPDATE",
        "INSERT INTO django_partisan_schedule (name, every) VALUES ('nightly', 5)",
    ],
)
def test_a_row_that_another_transaction_locks_delays_no_other(statement):
    add_schedule("hourly", origin="settings")
    add_schedule("gone", origin="settings")
    manager = Manager({"hourly": HOURLY, "nightly": DAILY, "new": DAILY})
    with closing(open_connection("another")) as another, closing(open_connection("test")) as own:
        execute(another, "BEGIN")
        execute(another, statement)

        found = compare(own, manager.id, manager.definitions)

        execute(another, "ROLLBACK")
    changes, first = names_of(found.changes), ("new", "added")
    if "<>" in statement:
        assert changes == [first, ("nightly", "added"), ("gone", "stopped")]
    elif "INSERT" in statement:
        assert changes == [("hourly", "changed"), first, ("gone", "stopped")]
    else:
        assert changes == [("hourly", "changed"), first, ("nightly", "added")]
    assert found.is_partial == ("= 'gone'" not in statement)


def test_of_the_definitions_only_the_one_that_postgresql_refuses_is_left_out():
    add_schedule("gone", origin="settings")
    manager = Manager({"hourly": HOURLY, "nightly": DAILY, "odd": {"task": "Letter", "every": 7}})
    with closing(open_connection("test")) as own, refusing("INSERT", "NEW.every = 7", table=SCHEDULES):
        found = compare(own, manager.id, manager.definitions)

    assert names_of(found.changes) == [("hourly", "added"), ("nightly", "added"), ("gone", "stopped")]
    assert [(name, error.text) for name, error in found.refused.items()] == [("odd", "as asked (P0001)")]
    assert names_of(manager.compare()) == [("odd", "added")]


@pytest.mark.parametrize("kind", ["UPDATE", "DELETE"])
def test_of_what_nobody_lists_only_a_row_that_postgresql_keeps_is_left_out(kind):
    long_ago = timezone.now() - timedelta(days=31)
    for name in ("a", "b", "c"):
        add_schedule(name, origin="settings", stopped_at=long_ago if kind == "DELETE" else None)
    manager = Manager({"nightly": DAILY})
    change = "removed" if kind == "DELETE" else "stopped"

    with closing(open_connection("test")) as own, refusing(kind, "OLD.name = 'b'", table=SCHEDULES):
        found = compare(own, manager.id, manager.definitions)

    assert names_of(found.changes) == [("nightly", "added"), ("a", change), ("c", change)]
    assert [*found.refused] == ["b"]


def test_an_error_of_the_server_is_no_error_of_a_definition():
    manager = Manager({"hourly": HOURLY, "nightly": DAILY})

    is_nightly = "NEW.name = 'nightly'"
    with refusing("INSERT", is_nightly, "53200", table=SCHEDULES), pytest.raises(Error, match="as asked"):
        manager.compare()

    assert not Schedule.objects.exists()


def test_a_server_that_refuses_everything_fails_the_comparison():
    execute(connection, "ALTER TABLE django_partisan_chore RENAME TO hidden")
    try:
        with pytest.raises(Error, match="django_partisan_chore"):
            Manager({"nightly": DAILY}).compare()
    finally:
        execute(connection, "ALTER TABLE hidden RENAME TO django_partisan_chore")

    assert not Schedule.objects.exists()


# The component in a manager.


@pytest.fixture
def deploy(open_harness: Callable[..., ManagerHarness]) -> Callable[..., ManagerHarness]:
    """Return a function that makes a manager with schedules in its settings."""

    def make(schedules: dict[str, Any], **settings: Any) -> ManagerHarness:
        with override_settings(PARTISAN_SCHEDULES=schedules):
            return open_harness(**{"lease_seconds": 3, **settings})

    return make


def is_defined() -> bool:
    return Schedule.objects.filter(pk="nightly", every=PERIOD, stopped_at=None).exists()


def test_a_manager_lists_its_schedules_and_tells_what_it_changed(deploy, recorded_events: RecordedEvents):
    harness = deploy({"nightly": DAILY})

    harness.turn_until(lambda: recorded_events.of(ScheduleChanged))

    lease = ManagerLease.objects.get()
    assert lease.schedules == {"nightly": row().fingerprint}
    [changed] = recorded_events.of(ScheduleChanged)
    assert (changed.schedule, changed.change, changed.origin) == ("nightly", "added", "settings")
    assert changed.next_at == row().next_at


def test_a_manager_takes_over_from_one_that_stopped(deploy):
    newer = Manager({"nightly": HOURLY}, seconds=-1000)
    newer.compare()
    harness = deploy({"nightly": DAILY})
    harness.turn_until(lambda: harness.manager._parts.schedules._listed._listing)
    assert row().every == 3600

    newer.stop()

    harness.turn_until(is_defined)


def test_a_new_identity_keeps_the_start_of_the_process_and_the_list(deploy):
    harness = deploy({"nightly": DAILY})
    harness.turn_until(is_defined)
    first = ManagerLease.objects.get()

    ManagerLease.objects.all().delete()
    harness.turn_until(lambda: ManagerLease.objects.exists())

    second = ManagerLease.objects.get()
    assert second.pk != first.pk
    assert (second.process_started_at, second.schedules) == (first.process_started_at, first.schedules)
    assert second.process_started_at is not None
    assert second.process_started_at <= first.started_at < second.started_at


def test_a_row_that_somebody_has_deleted_is_back_when_managers_are_notified(deploy):
    harness = deploy({"nightly": DAILY}, lease_seconds=3000)
    harness.turn_until(is_defined)

    Schedule.objects.all().delete()
    scheduling.notify_managers(connection)

    harness.turn_until(is_defined)


def test_a_row_that_another_manager_wrote_or_stopped_meanwhile_is_repaired(deploy):
    harness = deploy({"nightly": DAILY})
    harness.turn_until(is_defined)
    harness.turn_until(lambda: harness.is_quiet)

    Schedule.objects.update(stopped_at=timezone.now())
    harness.turn_until(is_defined)
    Schedule.objects.update(every=3600, fingerprint="older")
    harness.turn_until(is_defined)

    assert ManagerLease.objects.count() == 1


def test_a_row_that_is_deleted_is_back_at_once(deploy):
    harness = deploy({"nightly": DAILY}, lease_seconds=3000)
    harness.turn_until(is_defined)

    row().delete()

    harness.turn_until(is_defined)


def test_without_schedules_a_manager_compares_nothing(deploy):
    harness = deploy({})

    harness.turn_until(lambda: harness.is_quiet)
    harness.manager._parts.lease.heartbeat_soon()
    harness.turn_until(lambda: harness.is_quiet)
    scheduling.notify_managers(connection)
    harness.turn_until(lambda: harness.manager._parts.schedules._scheduler._due_at > 0)

    assert not Chore.objects.filter(name__in=["schedules", "open_ticks"])
    assert ManagerLease.objects.get().schedules is None


def test_a_comparison_that_failed_is_reported_and_repeated(deploy, recorded_events: RecordedEvents):
    execute(connection, "ALTER TABLE django_partisan_chore RENAME TO hidden")
    try:
        harness = deploy({"nightly": DAILY})
        harness.turn_until(lambda: recorded_events.of(ScheduleOperationFailed))
    finally:
        execute(connection, "ALTER TABLE hidden RENAME TO django_partisan_chore")

    harness.turn_until(is_defined)
    [failed] = recorded_events.of(ScheduleOperationFailed)
    assert (failed.operation, failed.schedule) == ("compare", None)
    assert "django_partisan_chore" in failed.error.message


def test_a_definition_that_is_refused_is_reported_alone(deploy, recorded_events: RecordedEvents):
    odd = {"task": "Letter", "every": 7}
    with refusing("INSERT", "NEW.every = 7", table=SCHEDULES):
        harness = deploy({"nightly": DAILY, "odd": odd})
        harness.turn_until(lambda: is_defined() and recorded_events.of(ScheduleOperationFailed))

    harness.turn_until(lambda: Schedule.objects.filter(pk="odd").exists())
    [failed] = recorded_events.of(ScheduleOperationFailed)
    assert (failed.operation, failed.schedule) == ("compare", "odd")
