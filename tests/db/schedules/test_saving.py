# ruff: noqa: DTZ001 - one test is about local times
"""Rows of schedules created by hand: what ``save()`` accepts, writes and keeps."""

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from django.core import checks as django_checks
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.test import override_settings
from django.utils.timezone import is_naive, make_aware, now

from django_partisan import checks
from django_partisan.models import Schedule, Task
from django_partisan.schedules.definition import ScheduleDefinition
from django_partisan.sql.connection import execute
from tests.support.schedule_rows import made, of_settings, stored

pytestmark = pytest.mark.django_db

LONG_AGO = datetime(2020, 1, 1, tzinfo=timezone.utc)


def moved() -> datetime:
    """Move the row's next tick to where no change would put it, as managers do."""
    Schedule.objects.update(next_at=LONG_AGO, totals={"enqueued": 7}, error="no luck", failures=3)
    return LONG_AGO


def test_a_new_schedule_starts_at_the_first_tick_from_now():
    row = made(every=3600)

    assert row.next_at is not None
    assert row.next_at.timestamp() % 3600 == 0
    assert timedelta(0) < row.next_at - row.defined_at <= timedelta(hours=1)
    assert abs(row.defined_at - now()) < timedelta(minutes=1)
    assert stored().next_at == row.next_at
    assert stored().fingerprint == ScheduleDefinition.of_row(stored()).fingerprint


def test_the_row_holds_the_whole_definition():
    row = Schedule(name="nightly", task="Report", cron="0 3 * * *", args=(2027,))

    row.save()

    row = stored()
    assert (row.time_zone, row.args, row.kwargs) == ("UTC", [2027], {})
    assert (row.catch_up, row.overlap, row.origin, row.paused) == ("one", True, "database", False)
    assert row.next_at is not None
    assert row.next_at.hour == 3


def test_an_interval_may_be_a_timedelta():
    made(every=timedelta(minutes=5))

    assert stored().every == 300


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"name": ""}, "name", "name of the schedule '' is ''; expected a name of 1 to 200"),
        ({"task": "Nothing"}, "task", "task of the schedule 'nightly' is 'Nothing'"),
        ({"task": ""}, "task", "task of the schedule 'nightly' is None"),
        ({"every": None}, "__all__", "the definition of the schedule 'nightly' is"),
        (
            {"every": None, "cron": "0 25 * * *"},
            "cron",
            "The hour field of cron of the schedule 'nightly' is '25'",
        ),
        ({"every": None, "cron": "@daily", "time_zone": "Mars"}, "time_zone", "is 'Mars'"),
        ({"args": {"a": 1}}, "args", "expected a list or tuple"),
        ({"catch_up": "all", "overlap": False}, "catch_up", "overlap is False"),
        ({"origin": "settings"}, "origin", "Only managers can add schedules of the settings."),
    ],
)
def test_a_wrong_definition_is_refused_by_field(given: dict[str, Any], field: str, said: str):
    with pytest.raises(ValidationError) as refusal:
        made(**given)

    assert said in refusal.value.message_dict[field][0]
    assert not Schedule.objects.exists()


def test_a_row_without_a_task_is_refused():
    with pytest.raises(ValidationError, match="task of the schedule 'nightly' is None"):
        Schedule(name="nightly", every=60).save()


@pytest.mark.parametrize(
    "change",
    [
        {"every": 120},
        {"every": None, "cron": "@daily"},
        {"every": None, "cron": "@daily", "time_zone": "Asia/Tokyo"},
    ],
)
def test_a_change_of_its_times_starts_at_the_first_tick_from_now(change: dict[str, Any]):
    row = made()
    moved()

    for name, value in change.items():
        setattr(row, name, value)
    row.save()

    assert stored().next_at == row.next_at
    assert row.next_at is not None
    assert row.next_at > now() - timedelta(minutes=1)
    assert (stored().error, stored().failures) == ("", 0)
    assert stored().totals == {"enqueued": 7}


@pytest.mark.parametrize(
    "change", [{"args": [2030]}, {"priority": 3}, {"catch_up": "none"}, {"task": "Cleanup"}]
)
def test_another_change_keeps_the_next_tick(change: dict[str, Any]):
    row = made()
    fingerprint = row.fingerprint
    moved()

    for name, value in change.items():
        setattr(row, name, value)
    row.save()

    assert stored().next_at == LONG_AGO
    assert stored().fingerprint not in ("", fingerprint)
    assert (stored().error, stored().failures) == ("", 0)


def test_what_managers_own_is_not_overwritten_with_what_was_loaded_before():
    row = stored_before = made()
    moved()

    row.comment = "mind the gap"
    row.save()

    assert stored_before.next_at != LONG_AGO
    assert (stored().next_at, stored().totals, stored().error) == (LONG_AGO, {"enqueued": 7}, "no luck")
    assert stored().comment == "mind the gap"


def test_only_the_fields_that_are_named_are_written():
    row = made()
    row.priority, row.comment = 3, "not this"

    row.save(update_fields=["priority"])

    assert (stored().priority, stored().comment) == (3, "")


def test_an_object_with_the_name_of_a_row_changes_that_row():
    made()
    moved()

    Schedule(name="nightly", task="Report", every=60, priority=5).save()

    assert (stored().priority, stored().next_at, stored().comment) == (5, LONG_AGO, "")


def test_a_name_that_exists_cannot_be_inserted_again():
    made()

    with pytest.raises(IntegrityError), transaction.atomic():
        Schedule.objects.create(name="nightly", task="Report", every=5)

    assert stored().every == 60


@pytest.mark.parametrize("change", [{"every": 61}, {"args": [1]}, {"origin": "database"}])
def test_a_schedule_of_the_settings_is_not_changed_by_hand(change: dict[str, Any]):
    row = of_settings()

    for name, value in change.items():
        setattr(row, name, value)
    with pytest.raises(ValidationError, match="'nightly' comes from PARTISAN_SCHEDULES"):
        row.save()

    assert (stored().every, stored().args, stored().origin) == (60, [], "settings")


def test_a_schedule_of_the_settings_is_not_replaced_by_hand():
    of_settings()

    with pytest.raises(ValidationError, match="comes from PARTISAN_SCHEDULES"):
        Schedule(name="nightly", task="Report", every=5).save()


def test_a_row_made_by_hand_cannot_become_one_of_the_settings():
    row = made()

    row.origin = "settings"
    with pytest.raises(ValidationError, match="comes from PARTISAN_SCHEDULES"):
        row.save()


@pytest.mark.parametrize("make", [made, of_settings])
def test_any_schedule_can_be_paused_and_resumed_by_its_row(make: Any):
    row = make()
    moved()

    row.paused, row.comment = True, "they move"
    row.save()
    assert (stored().paused, stored().comment, stored().next_at) == (True, "they move", LONG_AGO)
    row.paused = False
    row.save()

    assert not stored().paused
    assert stored().next_at == row.next_at
    assert row.next_at is not None
    assert row.next_at > now() - timedelta(minutes=1)


def test_a_row_can_be_run_paused_and_resumed_by_its_methods():
    row = made()

    task_id = row.run_now()
    row.pause("they move")
    assert (row.paused, row.comment, stored().paused) == (True, "they move", True)
    moved()
    row.resume()

    assert Task.objects.get().pk == task_id
    assert (row.paused, row.next_at) == (False, stored().next_at)
    assert row.next_at is not None
    assert row.next_at > now() - timedelta(minutes=1)


def test_a_pause_alone_keeps_the_comment():
    row = made(comment="before")

    row.paused, row.comment = True, "not this"
    row.save(update_fields=["paused"])

    assert (stored().paused, stored().comment) == (True, "before")


def test_a_form_validates_the_whole_definition_but_none_of_the_settings():
    with pytest.raises(ValidationError, match="is 'Nothing'"):
        Schedule(name="nightly", task="Nothing", every=60).clean()

    Schedule(name="nightly", task="Nothing", every=60, origin="settings").clean()


def test_the_ticks_to_come_follow_from_the_definition():
    row = Schedule(name="nightly", task="Report", cron="30 2 * * *", time_zone="Europe/Berlin")

    ticks = row.upcoming(2, datetime(2027, 3, 27, 12, tzinfo=timezone.utc))

    assert ticks == [
        datetime(2027, 3, 28, 1, tzinfo=timezone.utc),
        datetime(2027, 3, 29, 0, 30, tzinfo=timezone.utc),
    ]
    assert len(row.upcoming()) == 5
    assert timedelta(0) < row.upcoming(1)[0] - now() < timedelta(days=2)


@override_settings(USE_TZ=False, TIME_ZONE="Asia/Tokyo")
def test_without_time_zones_the_ticks_are_local_times():
    row = Schedule(name="nightly", task="Report", cron="0 3 * * *")

    assert row.upcoming(1, datetime(2026, 11, 30, 2)) == [datetime(2026, 11, 30, 3)]
    row.save()

    [first] = row.upcoming(1)
    kept = stored().next_at
    assert kept is not None
    assert is_naive(kept)
    assert kept == first
    assert row.next_at == make_aware(first)


def test_a_row_by_hand_that_hides_a_schedule_of_the_settings_is_a_warning(settings: Any):
    made()
    of_settings(name="weekly")
    settings.PARTISAN_SCHEDULES = {
        name: {"task": "Report", "every": 60} for name in ("nightly", "weekly", "other")
    }

    [warning] = django_checks.run_checks(tags=[django_checks.Tags.database], databases=["default"])

    assert (warning.id, warning.is_serious()) == ("partisan.W006", False)
    assert (
        warning.msg
        == "A key of PARTISAN_SCHEDULES is 'nightly'; expected a name that no row made by hand uses."
    )
    assert django_checks.run_checks(tags=[checks.TAG]) == []


@pytest.mark.parametrize("given", [{}, []])
def test_without_schedules_no_name_is_looked_up(given: Any, settings: Any, django_assert_num_queries: Any):
    settings.PARTISAN_SCHEDULES = given

    with django_assert_num_queries(0):
        found = django_checks.run_checks(tags=[django_checks.Tags.database], databases=["default"])

    assert found == []


def test_before_the_table_exists_no_name_is_warned_of(settings: Any):
    settings.PARTISAN_SCHEDULES = {"nightly": {"task": "Report", "every": 60}}
    execute(connection, "ALTER TABLE django_partisan_schedule RENAME TO elsewhere")

    with transaction.atomic():
        found = django_checks.run_checks(tags=[django_checks.Tags.database], databases=["default"])
        transaction.set_rollback(True)

    assert found == []
